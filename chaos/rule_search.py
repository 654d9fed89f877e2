"""What goes wrong without each rule: ``python -m chaos.rule_search --histories 2000``.

Each rule is taken out in a process of its own, and histories are run until some have flaws. A rule whose
loss no history shows is a belt over other rules, and named as one, or the histories are too tame.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaos.mutants import BELTS, MUTANTS, NOT_APPLICABLE
from chaos.mutation import ROOT


class Search(NamedTuple):
    """What became of the histories without a rule."""

    rule: str
    histories: int
    found: int
    #: by kind
    flaws: dict[str, int]
    #: the number of the first history with a flaw; 0 if there was none
    killed: int
    #: why the search itself failed
    error: str = ""


def search(rule: str, histories: int, seed: int, enough: int, timeout_s: float) -> Search:
    """Run histories without ``rule`` in a child process."""
    command = [sys.executable, "-m", "chaos.mutation", rule, "--histories", str(histories)]
    command += ["--seed", str(seed), "--enough", str(enough)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Search(rule, 0, 1, {"no end": 1}, 1)
    if done.returncode:
        return Search(rule, 0, 0, {}, 0, done.stderr.strip().rpartition("\n")[2])
    return Search(rule, **json.loads(done.stdout))


def search_all(
    rules: Iterable[str], histories: int, seed: int, enough: int, jobs: int, timeout_s: float = 3600.0
) -> Iterator[Search]:
    """Yield the searches for ``rules`` in their order."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda rule: search(rule, histories, seed, enough, timeout_s), rules)


def row(search: Search) -> str:
    """Return a line of the table."""
    kinds = ", ".join(sorted(search.flaws, key=lambda kind: -search.flaws[kind])[:2])
    words = kinds or search.error or BELTS.get(search.rule, "nothing: the histories are too tame")
    first = f"{search.killed:,}" if search.killed else f"none of {search.histories:,}"
    return f"| `{search.rule}` | {first} | {words} |"


def section(searches: Iterable[Search], command: str) -> str:
    """Return the section of docs/reliability.md."""
    rows = [row(search) for search in searches]
    rows += [f"| `{rule}` | cannot arise | {why} |" for rule, why in NOT_APPLICABLE.items()]
    lines = "\n".join(rows)
    return f"""`{command}`: each rule of the protocol is taken
out of the sources in turn (`chaos/mutants.py`), and the histories above are run until one has a flaw. A rule
that nobody misses is named with what makes up for it.

| without the rule | first history with a flaw | what went wrong, or why nothing does |
|---|---:|---|
{lines}"""


def main(argv: list[str] | None = None) -> int:
    """Search without each rule and print a table; 0 if every rule was missed but the belts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rules", nargs="*", metavar="rule", help="all when left out")
    parser.add_argument("--histories", type=int, default=10000, help="at most, for each rule")
    parser.add_argument("--enough", type=int, default=1, help="stop at so many histories with flaws")
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write the section of docs/reliability.md")
    given = parser.parse_args(argv)
    searches = []
    for found in search_all(given.rules or MUTANTS, given.histories, given.seed, given.enough, given.jobs):
        print(row(found), f"{found.found} of {found.histories:,}", flush=True)
        searches.append(found)
    if given.write:
        from chaos.report import PAGE, write

        command = f"python -m chaos.rule_search --histories {given.histories} --seed {given.seed}"
        write(PAGE, "Rules taken out", section(searches, command))
    return int(any(each.error or (not each.killed and each.rule not in BELTS) for each in searches))


if __name__ == "__main__":
    sys.exit(main())
