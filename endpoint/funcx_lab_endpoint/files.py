"""The directory of one endpoint: its files, and who may read them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from funcx_lab.config import check_name, endpoint_directory, home, read_json, write_private
from funcx_lab.errors import ConfigError, EndpointNotFound, InvalidName
from funcx_lab.locks import is_held


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the hub service and this endpoint know of each other (``endpoint.json``)."""

    name: str
    endpoint_id: str
    url: str
    forwarder_address: str
    forwarder_key: str
    agent_token: str = field(repr=False)


class EndpointFiles:
    """The files of the endpoint ``name``.

    Raises
    ------
    InvalidName
        If ``name`` is no endpoint name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = endpoint_directory(name)
        self.config = self.directory / "config.py"
        self.lock = self.directory / "agent.lock"
        self.log = self.directory / "agent.log"
        self.objects = self.directory / "objects"
        self.results = self.directory / "results"
        self.runs = self.directory / "runs"
        self.spool = self.directory / "spool.db"
        self.key = self.directory / "agent.key"
        self._enrolment = self.directory / "endpoint.json"
        self._process = self.directory / "agent.json"

    def create(self) -> None:
        """Make the directory with mode 0700.

        Raises
        ------
        ConfigError
            If it cannot be made.
        """
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            os.chmod(self.directory, 0o700)
        except OSError as err:
            raise ConfigError(f"{self.directory} cannot be made: {err}") from err

    @property
    def exists(self) -> bool:
        """Whether the endpoint is configured."""
        return self.config.exists() or self._enrolment.exists()

    @property
    def runs_now(self) -> bool:
        """Whether its agent lives: it holds the lock for life."""
        return is_held(self.lock)

    def enrolment(self) -> Enrolment | None:
        """Return what was agreed with the hub service; None before that.

        Raises
        ------
        ConfigError
            If the file is damaged.
        """
        document = read_json(self._enrolment)
        if document is None:
            return None
        names = [each.name for each in fields(Enrolment)]
        if missing := [name for name in names if not isinstance(document.get(name), str)]:
            raise ConfigError(
                f"{self._enrolment} lacks {', '.join(missing)}; "
                f"run `funcx-endpoint configure {self.name}` again."
            )
        return Enrolment(**{name: document[name] for name in names})

    def save_enrolment(self, enrolment: Enrolment) -> None:
        """Keep what was agreed with the hub service."""
        write_private(self._enrolment, json.dumps(asdict(enrolment), indent=2) + "\n")

    def process(self) -> dict[str, Any]:
        """Return what the present or last agent wrote about itself; empty if there was none."""
        return read_json(self._process) or {}

    def save_process(self, state: str, reason: str, started: float, note: str = "") -> None:
        """Write what the calling agent is doing, and a note for people."""
        document = {
            "pid": os.getpid(),
            "started": started,
            "state": state,
            "reason": reason,
            "since": time.time(),
            "note": note,
            **self.identity(),
        }
        write_private(self._process, json.dumps(document) + "\n")

    def identity(self) -> dict[str, Any]:
        """Return what tells this directory from a copy of it, here or on another machine."""
        status = self.directory.stat()
        return {"host": socket.gethostname(), "inode": f"{status.st_dev}:{status.st_ino}"}

    def pid(self) -> int | None:
        """Return the process id of the living agent, None if there is none."""
        pid = self.process().get("pid") if self.runs_now else None
        return pid if isinstance(pid, int) else None


def find_endpoint(name_or_id: str) -> EndpointFiles:
    """Return the files of a configured endpoint.

    Raises
    ------
    EndpointNotFound
        If no endpoint on this machine has this name or id.
    """
    try:
        files = EndpointFiles(check_name(name_or_id))
        if files.exists:
            return files
    except InvalidName:
        pass
    for files in all_endpoints():
        enrolment = files.enrolment()
        if enrolment is not None and enrolment.endpoint_id == name_or_id:
            return files
    raise EndpointNotFound(
        f"There is no endpoint {name_or_id!r} on this machine; `funcx-endpoint list` shows them, "
        "`funcx-endpoint configure NAME` makes one."
    )


def all_endpoints() -> Iterator[EndpointFiles]:
    """Yield the files of each endpoint configured on this machine, by name."""
    parent: Path = home() / "endpoints"
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        try:
            files = EndpointFiles(path.name)
        except InvalidName:
            continue
        if files.exists:
            yield files
