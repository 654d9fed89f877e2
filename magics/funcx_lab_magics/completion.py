"""Tab completion of ``%%funcx`` and ``%funcx``: endpoints, options, names of the cell, tasks.

`candidates` decides from text alone. Endpoint names come from a cache that a thread fills; a key
press waits for it 150 ms at most, and never starts a hub service.
"""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from funcx_lab_magics.arguments import Parser, cell_parser
from funcx_lab_magics.cell.names import read_names
from funcx_lab_magics.commands import COMMANDS

log = logging.getLogger(__name__)

#: Endpoint names are asked for again after so many seconds.
FRESH_S = 30.0
#: The magics whose lines are completed here.
_OURS = ("%%funcx", "%funcx", "%autofuncx")
#: A key press waits this long at most (seconds).
PATIENCE_S = 0.15


class EndpointNames:
    """The names of the user's endpoints, asked for in a thread.

    Parameters
    ----------
    fetch : callable
        Returns the names; may block and fail.
    """

    def __init__(self, fetch: Callable[[], Sequence[str]]) -> None:
        self._fetch = fetch
        self._names: list[str] = []
        self._fetched = float("-inf")
        self._fetching: threading.Thread | None = None

    def get(self) -> list[str]:
        """Return what is known now; waits `PATIENCE_S` for an answer that is due."""
        if time.monotonic() - self._fetched > FRESH_S:
            if self._fetching is None or not self._fetching.is_alive():
                self._fetching = threading.Thread(target=self._refresh, name="funcx-endpoints", daemon=True)
                self._fetching.start()
            if not self._names:
                self._fetching.join(PATIENCE_S)
        return self._names

    def _refresh(self) -> None:
        try:
            self._names = sorted(self._fetch())
        except Exception:
            log.debug("no endpoint names for completion", exc_info=True)
        self._fetched = time.monotonic()


def candidates(
    text: str, body: str, endpoints: Callable[[], Iterable[str]], tasks: Callable[[], Iterable[str]]
) -> tuple[str, list[str]] | None:
    """Return the fragment to complete and what it may become, or None if the line is not ours.

    Parameters
    ----------
    text : str
        The line up to the cursor.
    body : str
        The cell below its first line.
    endpoints, tasks : callable
        Give names of endpoints and ids of tasks.
    """
    words = text.split()
    if not words or words[0] not in _OURS or (len(words) == 1 and not text.endswith(" ")):
        return None
    before, fragment = (words[1:], "") if text.endswith(" ") else (words[1:-1], words[-1])
    if words[0] != "%funcx":
        return _after(cell_parser(), before, fragment, body, endpoints, tasks)
    if not before:
        return _matching(fragment, COMMANDS)
    if before[0] not in COMMANDS:
        return None
    if before[0] == "run":
        found = _after(cell_parser(), before[1:], fragment, body, endpoints, tasks)
        return found if found and found[1] and "--" not in before else None
    return _after(COMMANDS[before[0]].parser(), before[1:], fragment, body, endpoints, tasks)


def _after(
    parser: Parser,
    before: list[str],
    fragment: str,
    body: str,
    endpoints: Callable[[], Iterable[str]],
    tasks: Callable[[], Iterable[str]],
) -> tuple[str, list[str]] | None:
    """Complete one word behind others, by what the parser expects there; None for a name of the notebook."""
    options = {text: action for action in parser._actions for text in action.option_strings}
    if fragment.startswith("-"):
        return _matching(fragment, [text for text in options if text.startswith("--") or fragment == "-"])
    action = options.get(before[-1]) if before else None
    if action is not None and action.nargs != 0:
        return _value(action, fragment, body, endpoints)
    expected = _positional(parser, before, options)
    if expected in ("name", "function"):
        return None
    if expected in ("task", "tasks"):
        return _matching(fragment, ["last", *tasks()])
    if expected in ("target", "endpoint"):
        return _matching(fragment, ["auto", *endpoints()] if expected == "target" else endpoints())
    return fragment, []


def _positional(parser: Parser, before: list[str], options: dict[str, argparse.Action]) -> str:
    """Return which argument without an option comes next; ``""`` for none."""
    positionals = [each for each in parser._actions if not each.option_strings]
    with_value = {text for text, action in options.items() if action.nargs != 0}
    given = [
        word
        for previous, word in zip(["", *before], before, strict=False)
        if word not in options and previous not in with_value
    ]
    if positionals and positionals[-1].nargs == "*":
        return positionals[min(len(given), len(positionals) - 1)].dest
    return positionals[len(given)].dest if len(given) < len(positionals) else ""


def _value(
    action: argparse.Action, fragment: str, body: str, endpoints: Callable[[], Iterable[str]]
) -> tuple[str, list[str]]:
    """Complete the value of an option."""
    if action.dest == "endpoint":
        return _matching(fragment, endpoints())
    if action.choices:
        return _matching(fragment, action.choices)
    if action.dest not in ("include", "exclude", "out"):
        return fragment, []
    head, comma, last = fragment.rpartition(",")
    reads, assigned = _names(body)
    names = reads if action.dest != "out" else assigned
    words = [] if comma or action.dest != "out" else ["auto", "none", "'*'"]
    given = head.split(",")
    found = [f"{head}{comma}{name}" for name in names if name.startswith(last) and name not in given]
    return fragment, found + _matching(fragment, words)[1]


def _names(body: str) -> tuple[list[str], list[str]]:
    try:
        names = read_names(body)
    except SyntaxError:
        return [], []
    return list(names.reads), names.assigned


def _matching(fragment: str, words: Iterable[str]) -> tuple[str, list[str]]:
    return fragment, [word for word in words if word.startswith(fragment)]


def make_matcher(
    endpoints: Callable[[], Iterable[str]], tasks: Callable[[], Iterable[str]]
) -> Callable[[CompletionContext], Any]:
    """Return the matcher to put into ``shell.Completer.custom_matchers``."""

    @context_matcher(identifier="funcx")  # type: ignore[untyped-decorator,unused-ignore]  # IPython's decorator has no types
    def funcx_matcher(context: CompletionContext) -> Any:
        body = context.full_text.partition("\n")[2] if context.cursor_line == 0 else ""
        found = candidates(context.text_until_cursor, body, endpoints, tasks)
        if found is None:
            return {"completions": [], "suppress": False}
        fragment, words = found
        return {
            "completions": [SimpleCompletion(word, type="funcx") for word in words],
            "matched_fragment": fragment,
            "suppress": True,
        }

    return funcx_matcher  # type: ignore[no-any-return,unused-ignore]  # the same
