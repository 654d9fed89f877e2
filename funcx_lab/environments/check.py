"""Whether an endpoint has what a function imports, asked before the function is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcx_lab.environments.book import EnvironmentBook
from funcx_lab.environments.preflight import compare
from funcx_lab.errors import EnvMismatch
from funcx_lab.serialize import needs_of

_ONLINE = "online"


def check_function(book: EnvironmentBook, endpoint: str, function: Callable[..., Any]) -> None:
    """Do nothing if the function can run at the endpoint, or if that cannot be known now.

    Parameters
    ----------
    book : EnvironmentBook
        Knows what endpoints have.
    endpoint : str
        Name or id.
    function : callable
        What is to be sent.

    Raises
    ------
    EnvMismatch
        Naming what the endpoint lacks.
    CannotSerialize
        If the function cannot be sent at all.
    """
    needs = needs_of(function)
    for fresh in (False, True):  # something may have been installed there since it was asked last
        reported = book.get(endpoint, fresh=fresh)
        if reported.environment is None or reported.state != _ONLINE:
            return
        findings = compare(reported.environment, needs.modules, bound=needs.bound)
        if findings.fits or not findings.is_certain:
            return
    name = getattr(function, "__name__", type(function).__name__)
    raise EnvMismatch(
        f"`{name}` needs {findings.lacks()}, which {endpoint} does not have. Nothing was run.\n"
        f"  try:  install it there, choose another endpoint, or do not check",
        details={"endpoint": endpoint, "missing": list(findings.missing), "python": findings.python},
    )
