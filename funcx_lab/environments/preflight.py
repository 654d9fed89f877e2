"""Compare what a call needs with what an endpoint has, before anything is sent. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.environments.report import version_here
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.payload import PYTHON

#: So many endpoints are proposed.
_PROPOSED = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """How a call fits an environment.

    Attributes
    ----------
    missing : tuple of str
        Modules that cannot be imported there.
    python : str
        The minor version there, if code travels as bytecode of another one; else ``""``.
    differing : tuple of str
        Packages whose major version is another one there, as people read it.
    is_certain : bool
        Whether a worker has reported; an agent's own environment only hints at it.
    """

    missing: tuple[str, ...] = ()
    python: str = ""
    differing: tuple[str, ...] = ()
    is_certain: bool = True

    @property
    def fits(self) -> bool:
        """Whether the call can run there."""
        return not self.missing and not self.python

    def lacks(self) -> str:
        """Return what is not there: ``torch``, ``Python 3.12 (3.10)``."""
        python = [f"Python {PYTHON} (it has {self.python})"] if self.python else []
        return ", ".join([*self.missing, *python])


def compare(
    environment: Environment,
    modules: Collection[str],
    *,
    bound: bool = False,
    here: Callable[[str], str] = version_here,
) -> Findings:
    """Return how a call fits.

    Parameters
    ----------
    environment : Environment
        Of the endpoint.
    modules : collection of str
        Top-level modules that the call imports.
    bound : bool
        Whether bytecode of this Python travels.
    here : callable
        Returns a distribution's version in this process.
    """
    missing = tuple(sorted(name for name in modules if name not in environment.modules))
    differing = [_difference(environment, name, here) for name in sorted(modules)]
    python = environment.minor if environment.minor != PYTHON else ""
    if python:
        differing.insert(0, f"Python {PYTHON} here, {python} there")
    return Findings(
        missing,
        python if bound else "",
        tuple(dict.fromkeys(filter(None, differing))),
        environment.source == "worker",
    )


def _difference(environment: Environment, module: str, here: Callable[[str], str]) -> str:
    package = environment.modules.get(module, "")
    mine, its = (here(package), environment.packages.get(package, "")) if package else ("", "")
    if not mine or not its or mine.split(".")[0] == its.split(".")[0]:
        return ""
    return f"{package} {mine} here, {its} there"


# --- other endpoints --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that is online, as it may be chosen.

    Attributes
    ----------
    name : str
        Its name.
    environment : Environment or None
        What it reported, if it did.
    details : mapping
        Its status report.
    """

    name: str
    environment: Environment | None
    details: Mapping[str, Any] = field(default_factory=dict)

    def number(self, key: str) -> int:
        """Return a number of its status report, 0 if it does not say."""
        value = self.details.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def free(self) -> int:
        """How many of its workers have nothing to do, those it may still start included."""
        return max(0, max(self.number("workers"), self.number("limit")) - self.number("busy"))

    def reason(self, modules: Collection[str]) -> str:
        """Return why it was chosen: ``has torch 2.4; 2 workers free``."""
        waiting = self.number("queued")
        count, what = (waiting, "waiting") if waiting else (self.free, "free")
        thing = ("task" if waiting else "worker") + ("" if count == 1 else "s")
        return "; ".join(filter(None, [self.has(modules), f"{count} {thing} {what}"]))

    def has(self, modules: Collection[str]) -> str:
        """Return the modules that it has, with their versions: ``has torch 2.4``."""
        if self.environment is None:
            return ""
        names = [f"{name} {self.environment.version_of(name)}".strip() for name in sorted(modules)]
        return f"has {', '.join(names)}" if names else ""


def fitting(
    candidates: Sequence[Candidate], modules: Collection[str], *, bound: bool = False
) -> list[Candidate]:
    """Return the endpoints that fit, the one with the fewest waiting tasks and most free workers first.

    One that has not reported anything comes after those that have.
    """
    fit = [
        each
        for each in candidates
        if each.environment is None or compare(each.environment, modules, bound=bound).fits
    ]
    return sorted(fit, key=lambda each: (each.environment is None, each.number("queued"), -each.free))


def proposals(candidates: Sequence[Candidate], modules: Collection[str], *, bound: bool = False) -> list[str]:
    """Return which other endpoints to take: ``lab-ws has torch 2.4: %%funcx lab-ws``."""
    fit = [each for each in fitting(candidates, modules, bound=bound) if each.environment is not None]
    return [f"{each.name} {each.has(modules) or 'fits'}: %%funcx {each.name}" for each in fit[:_PROPOSED]]
