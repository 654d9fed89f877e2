"""Where things are kept on this machine, which names are allowed, and what a hub service is to us."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from funcx_lab.errors import ConfigError, InvalidName

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Service:
    """A hub service and how to be let in.

    Attributes
    ----------
    url : str
        Its address, without a slash at the end.
    token : str
        The bearer token; never shown in a repr.
    embedded : bool
        Whether it is this user's own on loopback, which may be started again when it is gone.
    user : str
        Whose token it is, where that is known: JupyterHub gives each server of a user another token.
    """

    url: str
    token: str = field(repr=False)
    embedded: bool = False
    user: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def alias(self) -> str:
        """What it is called in a notebook, which others may read: ``local`` or its host."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return "local" if self.embedded else f"{parts.hostname}{port}"


def home() -> Path:
    """Return ``$FUNCX_LAB_HOME`` (default ``~/.funcx_lab``), created with mode 0700.

    Raises
    ------
    ConfigError
        If it cannot be created.
    """
    path = Path(os.environ.get("FUNCX_LAB_HOME") or "~/.funcx_lab").expanduser().absolute()
    _make_directory(path)
    return path


def endpoint_directory(name: str) -> Path:
    """Return the directory of the endpoint ``name``; only its parent is created.

    Raises
    ------
    InvalidName
        If ``name`` is no endpoint name, `../x` for instance.
    """
    parent = home() / "endpoints"
    _make_directory(parent)
    return parent / check_name(name)


def check_name(name: str) -> str:
    """Return ``name`` if it may name an endpoint.

    Raises
    ------
    InvalidName
        If it does not match ``[a-z0-9][a-z0-9_-]{0,62}``.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidName(
        f"{name!r} is not a valid name: use up to 63 of a-z, 0-9, '-' and '_', first a letter or digit."
    )


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None if there is no such file.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not hold a JSON object; the message names file and line.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as err:
        raise ConfigError(f"{path}, line {err.lineno}: not JSON ({err.msg}). Repair or remove it.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} cannot be read: {err}.") from err
    if not isinstance(document, dict):
        raise ConfigError(f"{path}, line 1: should hold a JSON object. Repair or remove it.")
    return document


def write_private(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` with mode 0600; a reader sees the old file or the new one, never half.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as err:
        raise ConfigError(f"{path} cannot be written: {err.strerror}.") from err


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be created: {err.strerror}. Set FUNCX_LAB_HOME to a writable place."
        ) from err
