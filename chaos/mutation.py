"""One rule taken out of the sources as they are loaded: ``python -m chaos.mutation RULE --histories 1000``.

Runs in a process of its own, since modules are loaded once. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Edit(NamedTuple):
    """Text of one file that is replaced."""

    path: str
    old: str
    new: str


class Mutator(importlib.machinery.PathFinder):
    """An import hook that edits sources.

    Parameters
    ----------
    edits : sequence of Edit
        Each old text must occur exactly once in its file.

    Attributes
    ----------
    sources : dict
        The edited sources, by file.

    Raises
    ------
    ValueError
        If an old text is missing, or there more than once: the table is behind the sources.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.sources: dict[Path, str] = {}
        self._loaded: set[Path] = set()
        for edit in edits:
            path = ROOT / edit.path
            source = self.sources.get(path) or path.read_text()
            if (count := source.count(edit.old)) != 1:
                raise ValueError(f"{edit.path} has this text {count} times, not once: {edit.old!r}")
            self.sources[path] = source.replace(edit.old, edit.new)

    @property
    def unloaded(self) -> list[str]:
        """Files that nobody has imported."""
        return sorted(str(path.relative_to(ROOT)) for path in self.sources.keys() - self._loaded)

    def find_spec(  # type: ignore[override]  # an instance, where PathFinder is a class of static methods
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an edited module; None for all others."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or Path(spec.origin).resolve() not in self.sources:
            return None
        origin = Path(spec.origin).resolve()
        self._loaded.add(origin)
        spec.loader = _Loader(fullname, spec.origin, self.sources[origin])
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


def search(edits: Sequence[Edit], first: int, count: int, enough: int) -> dict[str, object]:
    """Run histories on edited sources until so many had flaws.

    Returns
    -------
    dict
        ``histories`` that were run, ``found`` with flaws, ``flaws`` by kind, ``killed`` by what number.
    """
    mutator = Mutator(edits)
    sys.meta_path.insert(0, mutator)
    from chaos.histories import history

    if mutator.unloaded:
        raise ValueError(f"No history runs {', '.join(mutator.unloaded)}")
    kinds: dict[str, int] = {}
    killed, found, number = 0, 0, 0
    for number in range(1, count + 1):
        try:
            flaws = history(first + number - 1)
        except Exception as error:  # what is missing may break anything
            flaws = {f"{type(error).__name__} in {traceback.extract_tb(error.__traceback__)[-1].name}": error}
        if flaws:
            found += 1
            killed = killed or number
            for kind in flaws:
                kinds[kind] = kinds.get(kind, 0) + 1
            if found >= enough:
                break
    return {"histories": number, "found": found, "flaws": kinds, "killed": killed}


def main() -> None:
    """Search with one rule of the table taken out."""
    from chaos.mutants import MUTANTS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rule", choices=list(MUTANTS))
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--enough", type=int, default=1, help="stop at so many histories with flaws")
    given = parser.parse_args()
    print(json.dumps(search(MUTANTS[given.rule], given.seed, given.histories, given.enough)))


if __name__ == "__main__":
    main()
