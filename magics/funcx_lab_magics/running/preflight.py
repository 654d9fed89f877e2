"""Before a cell is sent: whether its endpoint has what it imports, and which one has."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.environments.book import Reported
from funcx_lab.environments.preflight import Candidate, Findings, compare, fitting, proposals
from funcx_lab.errors import EnvMismatch, FuncxLabError
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.payload import PYTHON
from funcx_lab_magics.cell.needs import CellNeeds, needs_of
from funcx_lab_magics.cell.ready import ReadyCell
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.failures import interrupted

#: The endpoint that is chosen when a cell is sent.
AUTO = "auto"
_ONLINE = "online"


def place(notebook: Notebook, ready: ReadyCell) -> ReadyCell:
    """Return the cell with an endpoint chosen for it if its line says ``auto``.

    Raises
    ------
    IPython.core.error.UsageError
        If no endpoint is online.
    EnvMismatch
        If none fits.
    """
    if ready.options.endpoint != AUTO:
        return ready
    needs = needs_of(ready)
    candidates = _candidates(notebook)
    if not candidates:
        raise UsageError("auto: none of your endpoints is online; %funcx endpoints lists them.")
    fit = fitting(candidates, needs.modules, bound=bool(needs.bound))
    if not fit:
        raise _nothing_fits(candidates, needs)
    chosen = fit[0]
    ready.options.endpoint = chosen.name
    if not ready.options.quiet:
        notebook.say(f"auto → {chosen.name} ({chosen.reason(needs.modules)})")
    return dataclasses.replace(ready, manifest=dataclasses.replace(ready.manifest, endpoint=chosen.name))


def check(notebook: Notebook, ready: ReadyCell) -> None:
    """Refuse a cell whose endpoint lacks what it imports; say once what is of another version there.

    Raises
    ------
    EnvMismatch
        Naming what is missing, the line, and the endpoints that have it. Nothing was sent.
    """
    endpoint = ready.options.endpoint
    if not ready.options.check:
        return
    try:
        needs, reported, findings = _look(notebook, ready)
    except KeyboardInterrupt:
        interrupted(f"Interrupted before the cell was sent to {endpoint}.")
    if findings is None:
        return
    if not findings.fits and findings.is_certain:
        raise _mismatch(notebook, ready, needs, reported, findings)
    if not findings.fits:
        lacks = f"{endpoint}'s agent has no {findings.lacks()}; none of its workers has reported yet"
        notebook.say_once(f"note: {lacks}")
    elif findings.differing and not ready.options.quiet:
        notebook.say_once(f"note: {endpoint}: {'; '.join(findings.differing)}")


def verdict(notebook: Notebook, ready: ReadyCell) -> str:
    """Return in one line how a cell fits its endpoint, for ``--dry-run``."""
    needs, reported, findings = _look(notebook, ready)
    endpoint, environment = ready.options.endpoint, reported.environment
    if findings is None or environment is None:
        return f"{endpoint} is not checked: it has not reported its environment, or is not online"
    whose = "" if findings.is_certain else " (its agent's; no worker has reported yet)"
    if not findings.fits:
        return f"{endpoint} lacks {findings.lacks()}{whose}"
    here = ", ".join(f"{name} {environment.version_of(name)}".strip() for name in sorted(needs.modules))
    differing = f"; {'; '.join(findings.differing)}" if findings.differing else ""
    return f"{endpoint} fits: Python {environment.python}{', ' if here else ''}{here}{differing}{whose}"


def _look(notebook: Notebook, ready: ReadyCell) -> tuple[CellNeeds, Reported, Findings | None]:
    """Return what the cell needs, what its endpoint has, and how they fit; None if that is not known."""
    endpoint = ready.options.endpoint
    unknown = CellNeeds(), Reported(endpoint, "", None), None
    if endpoint.startswith("tag:"):
        return unknown
    needs = needs_of(ready)
    book = notebook.client().connection.environments
    for fresh in (False, True):  # what is known may be older than a package that was just installed
        reported = book.get(endpoint, fresh=fresh)
        if reported.environment is None or reported.state != _ONLINE:
            return needs, reported, None
        findings = compare(reported.environment, needs.modules, bound=bool(needs.bound))
        if findings.fits:
            break
    return needs, reported, findings


def _candidates(notebook: Notebook, *, besides: str = "") -> list[Candidate]:
    """Return the user's endpoints that are online."""
    client = notebook.client()
    book = client.connection.environments
    return [
        Candidate(each["name"], book.get(each["name"]).environment, each.get("details") or {})
        for each in client.get_endpoints()
        if each["state"] == _ONLINE and besides not in (each["name"], each["endpoint_id"])
    ]


# --- what is said -----------------------------------------------------------------------------------


def _mismatch(
    notebook: Notebook, ready: ReadyCell, needs: CellNeeds, reported: Reported, findings: Findings
) -> EnvMismatch:
    endpoint, environment = ready.options.endpoint, reported.environment
    assert environment is not None, "asked for with findings only"  # noqa: S101  # a mistake of ours
    lines = [_headline(endpoint, needs, findings), *_where(ready, needs, findings)]
    lines.append(f"  why:     {_why(findings, environment)}")
    try:
        others = _candidates(notebook, besides=reported.name)
    except FuncxLabError:
        others = []
    options = [
        *proposals(others, needs.modules, bound=bool(needs.bound)),
        "--no-check  sends it all the same",
    ]
    fit = fitting(others, needs.modules, bound=bool(needs.bound))
    lines += [f"  {'try:' if not n else '  or':<8} {text}" for n, text in enumerate(options)]
    lines.append(f"  more:    %funcx env {endpoint} --diff")
    details: dict[str, Any] = {"endpoint": endpoint, "missing": list(findings.missing)}
    details["others"] = [each.name for each in fit]
    return EnvMismatch("\n".join(lines), details={**details, "python": findings.python})


def _headline(endpoint: str, needs: CellNeeds, findings: Findings) -> str:
    if findings.missing:
        names = " and ".join(f"`{name}`" for name in findings.missing)
        return f"the cell needs {names}, which {endpoint} does not have. Nothing was sent."
    names = " and ".join(f"`{name}`" for name in needs.bound)
    bytecode = f"bytecode of Python {PYTHON}"
    return f"{names} can only travel as {bytecode}, which {endpoint} does not run. Nothing was sent."


def _where(ready: ReadyCell, needs: CellNeeds, findings: Findings) -> Sequence[str]:
    lines = []
    for module in findings.missing:
        reason = needs.modules[module]
        by = f"   (`{reason.name}` needs {module})" if reason.name and reason.name != module else ""
        if reason.line:
            lines.append(f"  {ready.cell.quote(reason.line)}{by}")
    return lines


def _why(findings: Findings, environment: Environment) -> str:
    if not findings.missing:
        return f"its workers run Python {environment.python}; the source is not known here"
    beside = [name for name in findings.missing if not _is_installed_here(name)]
    if beside:
        return f"{', '.join(beside)} is not an installed package; import it in the notebook, not in the cell"
    whose = f"Python {environment.python}, environment {environment.short_hash}"
    return f"no package of its workers has it ({whose})"


def _is_installed_here(module: str) -> bool:
    """Whether a module is installed here, or is not here at all: not one that lies beside the notebook."""
    from funcx_lab.serialize import origin

    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return True
    return found is None or origin.is_installed(module) or "site-packages" in str(found.origin)


def _nothing_fits(candidates: Sequence[Candidate], needs: CellNeeds) -> EnvMismatch:
    lines = ["auto: no endpoint that is online has what the cell imports. Nothing was sent."]
    for each in candidates:
        if each.environment is not None:
            findings = compare(each.environment, needs.modules, bound=bool(needs.bound))
            lines.append(f"  {each.name}: lacks {findings.lacks()}")
    lines.append("  try:     install it there, or name an endpoint and --no-check")
    return EnvMismatch("\n".join(lines))
