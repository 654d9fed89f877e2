"""What a call requires, against what is installed here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement

from funcx_lab.errors import UsageError


def parse(requires: Sequence[str]) -> list[Requirement]:
    """Return requirements as objects; those that do not hold on this machine (``; sys_platform == ...``) not.

    Raises
    ------
    UsageError
        If one is none, or names an address.
    """
    parsed = [_parse(text) for text in requires]
    return [each for each in parsed if each.marker is None or each.marker.evaluate()]


def lacking(requires: Sequence[str]) -> list[str]:
    """Return in words what is not here: ``["numpy>=2 (1.26.4 is installed)"]``; empty if all is.

    Raises
    ------
    UsageError
        As `parse`.
    """
    return [word for each in parse(requires) if (word := _lacking(each, set()))]


def _parse(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as err:
        reason = str(err).splitlines()[0]
        raise UsageError(f'{text!r} is no requirement such as "numpy>=2": {reason}') from err
    if requirement.url is not None:
        raise UsageError(f"{text!r} names an address; a requirement is a name with versions.")
    return requirement


def _lacking(requirement: Requirement, seen: set[str]) -> str:
    try:
        found = importlib.metadata.distribution(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{_plain(requirement)} (not installed)"
    if not requirement.specifier.contains(found.version, prereleases=True):
        return f"{_plain(requirement)} ({found.version} is installed)"
    seen.add(_key(requirement))
    for needed in _of_extras(requirement, found):
        if _key(needed) not in seen and (word := _lacking(needed, seen)):
            return f"{_plain(requirement)}: {word}"
    return ""


def _of_extras(requirement: Requirement, found: importlib.metadata.Distribution) -> Iterator[Requirement]:
    """Yield what the extras of a requirement need."""
    for text in found.requires or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            continue  # comes with the package itself
        if any(needed.marker.evaluate({"extra": extra}) for extra in requirement.extras):
            yield needed


def _key(requirement: Requirement) -> str:
    return f"{requirement.name.lower()}[{','.join(sorted(requirement.extras))}]"


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
