"""A namespace that outlives its calls: the cells and functions of one session share it in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from funcx_lab.serialize import rebuild

_MISSING = object()
_active: list[WarmSpace] = []


class WarmSpace:
    """The names of one session.

    A name that the session has assigned itself wins over one that a function brings along from the
    notebook; what was brought makes room for what is brought later.

    Attributes
    ----------
    is_over : bool
        `end` was called in it.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._names = rebuild.make_space("__main__")
        self._brought: dict[str, Any] = {}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let payloads be opened and cells be run in this namespace."""
        token = rebuild.shared_space.set(self._names)
        _active.append(self)
        try:
            yield
        finally:
            _active.remove(self)
            rebuild.shared_space.reset(token)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While payloads are opened: take what they bring, except for names that the session assigned."""
        self._brought = {name: value for name, value in self._brought.items() if self._has(name, value)}
        before = dict(self._names)
        own = {name: value for name, value in before.items() if name not in self._brought}
        try:
            yield
        finally:
            after = self._names.items()
            self.bring({name: value for name, value in after if before.get(name, _MISSING) is not value})
            self._names.update(own)

    def bring(self, inputs: Mapping[str, Any]) -> None:
        """Take note of values that come from the notebook."""
        self._brought.update(inputs)

    @property
    def names(self) -> list[str]:
        """The names that the session itself has assigned, in alphabetical order."""
        brought = self._brought
        return sorted(
            name
            for name, value in self._names.items()
            if not name.startswith("__") and (name not in brought or brought[name] is not value)
        )

    def _has(self, name: str, value: Any) -> bool:
        return self._names.get(name, _MISSING) is value


def end() -> bool:
    """End the session in which this is called; return whether there is one."""
    for space in _active:
        space.is_over = True
    return bool(_active)
