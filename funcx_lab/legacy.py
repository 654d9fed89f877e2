"""Keywords of the original funcX client: honoured, ignored, or refused with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from funcx_lab.errors import UsageError

#: Hosts of the funcX service that was switched off.
_GONE = ("api.funcx.org", "api2.funcx.org", "dev.funcx.org")
#: They have lost their meaning here, whatever their value.
_IGNORED = frozenset(
    {
        "check_endpoint_version",
        "do_version_check",
        "environment",
        "force_login",
        "searchable",
        "throttling_enabled",
        "use_offprocess_checker",
        "warn_about_url_mismatch",
    }
)
#: Refused when they ask for something, with what to do instead.
_REFUSED = {
    "asynchronous": "submit() returns a future that can be awaited",
    "authorizer": "give token=, or log in once with `funcx-lab login`",
    "container_uuid": "containers are chosen in the endpoint's config",
    "funcx_home": "set FUNCX_LAB_HOME",
    "fx_authorizer": "give token=, or log in once with `funcx-lab login`",
    "group": "functions are their owner's; register it as each user",
    "login_manager": "give token=, or log in once with `funcx-lab login`",
    "loop": "submit() returns a future that can be awaited in any loop",
    "openid_authorizer": "give token=, or log in once with `funcx-lab login`",
    "public": "functions are their owner's; register it as each user",
    "results_ws_uri": "the stream's address follows from funcx_service_address",
    "search_authorizer": "there is no search service",
}


def check_client(address: str | None, keywords: Mapping[str, Any]) -> None:
    """Check what was given to ``FuncXClient``.

    Raises
    ------
    UsageError
        For a keyword that is unknown or asks for what there is not, and for an address that was switched off.
    """
    _check("FuncXClient", keywords)
    if address is not None and urlsplit(address).hostname in _GONE:
        raise UsageError(
            f"{address} was switched off. Leave funcx_service_address out to use your own hub service "
            "on this machine, or give the address of your group's."
        )


def check_function(keywords: Mapping[str, Any]) -> None:
    """Check what was given to ``register_function``.

    Raises
    ------
    UsageError
        As `check_client`.
    """
    _check("register_function", keywords)


def _check(where: str, keywords: Mapping[str, Any]) -> None:
    for name, value in keywords.items():
        if name in _IGNORED or (name in _REFUSED and not value):
            continue
        if name in _REFUSED:
            raise UsageError(f"{where}({name}=...) cannot be honoured here: {_REFUSED[name]}.")
        raise UsageError(f"{where} has no keyword {name!r}; see help({where}).")
