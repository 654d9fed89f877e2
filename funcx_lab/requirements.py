"""Packages that a call requires, as pip names them: ``["numpy>=2", "scipy[extra]>=1.11,<2"]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from funcx_lab.errors import UsageError

#: So many requirements of so many characters each.
COUNT_LIMIT, LENGTH_LIMIT = 100, 200

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSIONS = r"(?:===|~=|==|!=|<=|>=|<|>) ?[A-Za-z0-9._*+!-]+"
#: The endpoint reads them exactly; here, what is no requirement at all is found before it travels.
_FORM = re.compile(
    rf"{_NAME} ?(?:\[[A-Za-z0-9._, -]*\] ?)?(?:\( ?)?(?:{_VERSIONS}(?: ?, ?{_VERSIONS})* ?)?(?:\) ?)?(?:;.*)?"
)
#: A comma before a name; one before ``<3`` or inside brackets belongs to its requirement.
_BETWEEN = re.compile(r",\s*(?=[A-Za-z0-9])(?![^\[]*\])")


def read_requirements(requires: Any) -> list[str]:
    """Return a list of requirements; text is taken as requirements with commas between them.

    Raises
    ------
    UsageError
        If one is none.
    """
    if isinstance(requires, str):
        requires = _BETWEEN.split(requires) if requires.strip() else []
    if not isinstance(requires, (list, tuple)) or not all(isinstance(each, str) for each in requires):
        raise UsageError(f'requires must be a list such as ["numpy>=2", "scipy"], not {requires!r:.80}.')
    found = [each.strip() for each in requires]
    if why := why_not(found):
        raise UsageError(why)
    return found


def why_not(requires: Sequence[str]) -> str:
    """Return what is wrong with a list of requirements; empty if nothing is."""
    if len(requires) > COUNT_LIMIT:
        return f"requires names {len(requires)} packages; {COUNT_LIMIT} may be."
    for each in requires:
        if not _is_requirement(each):
            return (
                f'requires: {each[:80]!r} is no requirement; write a name with versions, such as "numpy>=2".'
            )
    return ""


def _is_requirement(text: str) -> bool:
    # Single spaces only: a pattern with room for many would try them all.
    plain = " ".join(text.split())
    return len(text) <= LENGTH_LIMIT and text.isprintable() and _FORM.fullmatch(plain) is not None
