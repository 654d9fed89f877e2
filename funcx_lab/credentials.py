"""Which hub service to talk to, and with which token."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from funcx_lab.config import Service, home, read_json, write_private
from funcx_lab.errors import ConfigError, UsageError

__all__ = ["Service", "configured_service", "find_service", "forget_profile", "profile_path", "save_profile"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def find_service(url: str | None = None, token: str | None = None) -> Service:
    """Return the hub service to use; the first of these that is set.

    The arguments; ``FUNCX_LAB_URL`` and ``FUNCX_LAB_TOKEN``; ``FUNCX_LAB_JUPYTERHUB_URL`` with
    JupyterHub's token; the profile saved by ``funcx-lab login``; this user's own service on loopback,
    which is started if it does not run.

    Parameters
    ----------
    url : str, optional
        ``https://host/path``; plain ``http`` is allowed on loopback only.
    token : str, optional
        The bearer token; with ``url`` alone, ``FUNCX_LAB_TOKEN`` or the profile of that very URL is used.

    Raises
    ------
    UsageError
        If ``url`` is not an address that may be used.
    ConfigError
        If there is an address but no token for it, or the profile is damaged.
    ServiceStartError
        If the local hub service does not start.
    """
    if service := configured_service(url, token):
        return service
    from funcx_lab.embedded import ensure_service

    return ensure_service()


def configured_service(url: str | None = None, token: str | None = None) -> Service | None:
    """Return the hub service that the arguments or settings name; None if it is the user's local one.

    Parameters and errors are those of `find_service`, but nothing is started.
    """
    if url is not None:
        return _service(url, token or _token_for(url), "url=")
    if token is not None:
        raise UsageError("A token alone does not say which hub service it is for; give the URL too.")
    if found := os.environ.get("FUNCX_LAB_URL"):
        return _service(found, _token_for(found), "FUNCX_LAB_URL")
    if found := os.environ.get("FUNCX_LAB_JUPYTERHUB_URL"):
        return _service(found, os.environ.get("JUPYTERHUB_API_TOKEN"), "FUNCX_LAB_JUPYTERHUB_URL")
    if profile := _profile():
        return _service(profile[0], profile[1], str(profile_path()))
    return None


def profile_path() -> Path:
    """Return the file that ``funcx-lab login`` writes."""
    return home() / "profile.json"


def save_profile(url: str, token: str) -> Service:
    """Keep a service as the default of this user.

    Raises
    ------
    UsageError
        If ``url`` is not an address that may be used.
    """
    service = _service(url, token, "url=")
    write_private(profile_path(), json.dumps({"url": service.url, "token": token}) + "\n")
    return service


def forget_profile() -> bool:
    """Remove the saved profile; False if there was none."""
    try:
        profile_path().unlink()
    except FileNotFoundError:
        return False
    return True


def _profile() -> tuple[str, str] | None:
    document = read_json(profile_path())
    if document is None:
        return None
    url, token = document.get("url"), document.get("token")
    if not isinstance(url, str) or not isinstance(token, str):
        raise ConfigError(
            f"{profile_path()} needs 'url' and 'token' as text; log in again with `funcx-lab login`."
        )
    return url, token


def _token_for(url: str) -> str | None:
    """Return the token kept for this very address; one meant for another address is never sent to it."""
    meant_for = os.environ.get("FUNCX_LAB_URL", url)
    if (token := os.environ.get("FUNCX_LAB_TOKEN")) and _same(meant_for, url):
        return token
    if _is_jupyterhub(url) and (token := os.environ.get("JUPYTERHUB_API_TOKEN")):
        return token
    profile = _profile()
    return profile[1] if profile and _same(profile[0], url) else None


def _is_jupyterhub(url: str) -> bool:
    """Whether JupyterHub's token may be sent there: its spawner chose both, and it goes nowhere else."""
    found = os.environ.get("FUNCX_LAB_JUPYTERHUB_URL")
    return found is not None and _same(found, url)


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def check_address(url: str, source: str = "URL") -> None:
    """Check that a token may be sent to ``url``.

    Raises
    ------
    UsageError
        If it is not an address, or not a safe one.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{source}: {url!r} is not an address like https://host/path.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise UsageError(f"{source}: {url!r} would send the token in the clear; use https.")


def _service(url: str, token: str | None, source: str) -> Service:
    check_address(url, source)
    if not token:
        raise ConfigError(
            f"There is no token for {url} ({source}). "
            f"Give token=, set FUNCX_LAB_TOKEN, or run `funcx-lab login {url}`."
        )
    theirs = _is_jupyterhub(url) and token == os.environ.get("JUPYTERHUB_API_TOKEN")
    return Service(url, token, user=os.environ.get("JUPYTERHUB_USER", "") if theirs else "")
