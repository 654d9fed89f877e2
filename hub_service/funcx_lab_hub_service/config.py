"""Settings of the hub service."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from funcx_lab.errors import ConfigError
from funcx_lab.protocol.payload import PAYLOAD_LIMIT

#: A REST body may have this many bytes.
BODY_LIMIT = 10 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class ServiceConfig:
    """How one hub service runs.

    Parameters
    ----------
    data : Path
        Directory of database, objects and keys; made with mode 0700.
    home : Path, optional
        ``$FUNCX_LAB_HOME`` of the embedded service; None for a stand-alone server.
    host : str
        Address to listen on. Anything but loopback needs TLS.
    port : int
        0 takes the port of the last start when it is free, else any.
    certfile, keyfile : Path, optional
        TLS certificate and key (PEM).
    public_hosts : tuple of str
        Further values of the ``Host`` header that are served, e.g. ``"funcx.example.org"``.
    prefix : str
        Path below which every route is, e.g. ``"/services/funcx"``; ``""`` for none.
    jupyterhub : bool
        Whether it is a service of a JupyterHub, which then says who its users are.
    jupyterhub_fresh_s : float
        JupyterHub is asked again for a token after so many seconds.
    public_url : str
        Where JupyterHub says that browsers find it; ``""`` if it does not say.
    forwarder_host : str, optional
        Address that agents dial, when it is not ``host``.
    forwarder_bind : str, optional
        Address that the forwarder listens on, when it is not ``host``: agents come to it directly, encrypted
        and known by their keys, also where HTTP comes through a proxy on this machine.
    forwarder_port : int
        As ``port``, for the forwarder.
    user : str
        Owner of everything in embedded mode.
    body_limit, object_limit : int
        Bytes of a REST body and of an object.
    ttl_days, retention_days, tombstone_days : float
        A task that has not ended so many days after it was received expires; an ended one is purged; its id
        stays known, and unusable, for so many days more.
    backup_minutes : float
        A backup is made so often while there are writes, and the last three are kept; 0 for none.
    disk_reserve : int
        Bytes of disk kept for outcomes while submits are refused; 0 for none.
    request_rate, request_burst : float, int
        REST requests a second that one user may make in the long run, and at once; rate 0 for any number.
    user_tasks, user_bytes : int, optional
        Tasks that one user may have open, and bytes of their arguments; None for any number.
    all_tasks : int, optional
        Tasks that all users together may have open; None for any number.
    """

    data: Path
    home: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    certfile: Path | None = None
    keyfile: Path | None = None
    public_hosts: tuple[str, ...] = ()
    prefix: str = ""
    jupyterhub: bool = False
    jupyterhub_fresh_s: float = 5.0
    public_url: str = ""
    forwarder_host: str | None = None
    forwarder_bind: str | None = None
    forwarder_port: int = 0
    user: str = "me"
    body_limit: int = BODY_LIMIT
    object_limit: int = PAYLOAD_LIMIT
    ttl_days: float = 14.0
    retention_days: float = 30.0
    tombstone_days: float = 90.0
    backup_minutes: float = 15.0
    disk_reserve: int = 0
    request_rate: float = 0.0
    request_burst: int = 200
    user_tasks: int | None = None
    user_bytes: int | None = None
    all_tasks: int | None = None

    @property
    def embedded(self) -> bool:
        """Whether this is the local service of one OS user."""
        return self.home is not None

    @property
    def database(self) -> Path:
        """Path of the SQLite file."""
        return self.data / "hub.db"

    @property
    def audit(self) -> Path:
        """Path of the audit log."""
        return self.data / "audit.log"

    def check(self) -> None:
        """Refuse settings that would expose tokens to the network.

        Raises
        ------
        ConfigError
            If ``host`` is not loopback and there is no TLS, or half of it; if agents would not be told
            where the forwarder listens.
        """
        if self.forwarder_bind is not None and self.forwarder_host is None:
            raise ConfigError("--forwarder-bind needs --forwarder-host too: the name that agents dial.")
        if (self.certfile is None) != (self.keyfile is None):
            raise ConfigError("TLS needs both --certfile and --keyfile.")
        for path in (self.certfile, self.keyfile):
            if path is not None and not path.is_file():
                raise ConfigError(f"There is no TLS file {path}.")
        if not is_loopback(self.host) and self.certfile is None:
            raise ConfigError(
                f"Without TLS the hub service listens on loopback only, not on {self.host!r}: tokens would "
                "cross the network in clear. Give --certfile and --keyfile, or --host 127.0.0.1."
            )


def jupyterhub_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that JupyterHub's environment gives to one of its services; none elsewhere.

    A single-user server has many of these variables, too, but never the name of a service.

    Raises
    ------
    ConfigError
        If it is a service without an address: nobody could reach it.
    """
    if not environment.get("JUPYTERHUB_SERVICE_NAME"):
        return {}
    address = urlsplit(environment.get("JUPYTERHUB_SERVICE_URL", ""))
    if not address.hostname or not address.port:
        raise ConfigError(
            "A service of JupyterHub needs a `url` in jupyterhub_config.py, `http://127.0.0.1:10101` "
            "for instance."
        )
    public = environment.get("JUPYTERHUB_PUBLIC_URL", "")
    return {
        "jupyterhub": True,
        "host": address.hostname,
        "port": address.port,
        "prefix": environment.get("JUPYTERHUB_SERVICE_PREFIX", "").rstrip("/"),
        "public_url": public.rstrip("/"),
        "public_hosts": (urlsplit(public).netloc,) if public else (),
    }


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
