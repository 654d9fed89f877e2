"""Errors as the pages show them: the hub service's error body, and what to do about it."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from typing import Any

import tornado.web

from funcx_lab.credentials import profile_path
from funcx_lab.errors import (
    ConfigError,
    FuncxLabError,
    InvalidRequest,
    MissingExtra,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    ServiceTimeout,
    ServiceUnreachable,
    StorageFull,
    StoreDamaged,
    TransportError,
    UsageError,
)
from funcx_lab_labextension.service import mode

BAD_GATEWAY = 502
_BY_STATUS: dict[int, type[FuncxLabError]] = {
    cls.status: cls for cls in (InvalidRequest, NotAuthorized, NotFound, PayloadTooLarge)
}
_ADMIN = "Ask the administrator of the hub service."
_TRIES: dict[str, str] = {
    MissingExtra.code: "Install what the message names, then restart JupyterLab.",
    ServiceError.code: "Try again; the log of the hub service says more.",
    ServiceTimeout.code: "Try again in a moment; `funcx-lab doctor` in a terminal says more.",
    StorageFull.code: "Free space on the disk of the hub service.",
    StoreDamaged.code: "Restore a backup of the hub service: docs/errors/FX316.md says how.",
    ConfigError.code: "Repair what the message names; `funcx-lab doctor` in a terminal says more.",
    UsageError.code: "Repair the setting that the message names, then restart JupyterLab.",
}


def problem_of(error: FuncxLabError) -> dict[str, str]:
    """Return ``code``, ``message`` and ``try`` for a page."""
    return {"code": error.code, "message": error.message, "try": advice(error.code)}


def body_of(error: BaseException | None, status: int = ServiceError.status) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the error body for anything that was raised.

    What is no error of ours tells nothing of its inside.
    """
    if isinstance(error, TransportError):
        return BAD_GATEWAY, with_advice(error.as_document() | {"http_status_code": BAD_GATEWAY})
    if isinstance(error, tornado.web.HTTPError):
        known = _BY_STATUS.get(status, InvalidRequest if status < ServiceError.status else ServiceError)
        text = error.log_message % error.args if error.log_message and error.args else error.log_message
        error = known(text or None)
        return status, with_advice(error.as_document() | {"http_status_code": status})
    if not isinstance(error, FuncxLabError):
        error = ServiceError("The Jupyter server failed to handle this; its log holds the traceback.")
    return error.status, with_advice(error.as_document())


def with_advice(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error body of the hub service with what to ``try``."""
    return {**document, "try": advice(str(document.get("code")))}


def page_of(document: Mapping[str, Any]) -> str:
    """Return an error body as a page, for a frame in which a person would otherwise see JSON."""
    said = (html.escape(str(document.get(name) or "")) for name in ("message", "try"))
    text = "".join(f"<p>{words}</p>" for words in said if words)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>funcx-lab</title>'
        "<style>:root{color-scheme:light dark}body{font:14px system-ui,sans-serif;margin:2em}</style>"
        f'<main role="alert">{text}</main></html>'
    )


def advice(code: str) -> str:
    """Return what to do about an error, in words; ``""`` if its message says it all."""
    if code == NotAuthenticated.code:
        return _log_in()
    if code == ServiceUnreachable.code:
        return _look_at_service()
    return _TRIES.get(code, "")


def _log_in() -> str:
    if mode() == "jupyterhub":
        return "Stop and start your server in JupyterHub's control panel: it gets a new token."
    if url := os.environ.get("FUNCX_LAB_URL"):
        return f"Restart JupyterLab with a new FUNCX_LAB_TOKEN, or run `funcx-lab login {url}` without one."
    if profile_path().exists():
        return "Run `funcx-lab login` with the service's address in a terminal; this page goes on by itself."
    return "Run `funcx-lab stop` and `funcx-lab start` in a terminal."


def _look_at_service() -> str:
    if mode() == "jupyterhub":
        return f"{_ADMIN} This page goes on by itself when it is back."
    if os.environ.get("FUNCX_LAB_URL") or profile_path().exists():
        return "Check the network and the address: `funcx-lab doctor` in a terminal says more."
    return "Run `funcx-lab start` in a terminal or a %%funcx cell; this page then goes on by itself."
