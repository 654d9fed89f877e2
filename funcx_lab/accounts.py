"""Logging in to a hub service that runs elsewhere, and asking one who you are."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from funcx_lab.config import Service
from funcx_lab.credentials import check_address, find_service, save_profile
from funcx_lab.errors import UsageError
from funcx_lab.transport import Transport


def read_token(url: str, file: Path | None) -> str:
    """Return the token: from a file (``-``: standard input), ``FUNCX_LAB_TOKEN``, or typed when asked.

    Raises
    ------
    UsageError
        If the file cannot be read.
    """
    try:
        if file is None:
            return os.environ.get("FUNCX_LAB_TOKEN") or getpass.getpass(f"Token for {url}: ")
        return sys.stdin.readline() if str(file) == "-" else file.read_text()
    except OSError as err:
        raise UsageError(f"--token-file: {err}.") from err
    except EOFError:  # nobody there to be asked
        return ""


def log_in(url: str, token: str) -> tuple[Service, str]:
    """Check a token with its service, then keep both; return the service and the user.

    Raises
    ------
    UsageError
        If ``url`` is no address that may be used, or the token is empty.
    NotAuthenticated, TransportError
        If the service does not know the token or does not answer; nothing is kept.
    """
    check_address(url)
    if not token.strip():
        raise UsageError("No token was given; type it when asked, or give --token-file FILE.")
    service = find_service(url, token.strip())
    user = str(who_am_i(service)["user"])
    save_profile(service.url, service.token)
    return service, user


def who_am_i(service: Service) -> dict[str, Any]:
    """Ask a service for the user of its token, and for what is wrong with it.

    Raises
    ------
    NotAuthenticated, TransportError
        If it does not know the token or does not answer.
    """
    return dict(Transport(service).json("GET", "/v3/whoami"))
