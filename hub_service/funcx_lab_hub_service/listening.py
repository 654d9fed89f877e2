"""Where the hub service listens: sockets, TLS, the ports of the last start, and how many may connect."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import resource
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import tornado.httpserver
import tornado.iostream
import tornado.netutil

from funcx_lab.config import write_private
from funcx_lab.errors import ConfigError, ServiceStartError

logger = logging.getLogger(__name__)

#: It is said once in so many seconds that there are no descriptors.
_COMPLAIN_S = 10.0
#: File descriptors to ask for, and those kept for files.
_DESCRIPTORS, _RESERVE = 65_536, 256
#: Connections that have ended are looked for once in so many seconds when there are too many.
_LOOK_S = 0.5


class Ports:
    """Ports to take again at the next start, so that agents and clients find the service where it was.

    Parameters
    ----------
    path : Path
        The file that keeps them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> int:
        """Return the port that ``name`` had, 0 if that is not known."""
        port = self._read().get(name, 0)
        return port if isinstance(port, int) and 0 < port < 65536 else 0

    def set(self, name: str, port: int) -> None:
        """Keep the port of ``name``."""
        ports = self._read()
        if ports.get(name) != port:
            write_private(self._path, json.dumps({**ports, name: port}))

    def _read(self) -> dict[str, object]:
        try:
            ports = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # ports that are not known again are chosen anew
        return ports if isinstance(ports, dict) else {}


class CappedServer(tornado.httpserver.HTTPServer):
    """An HTTP server that keeps some file descriptors free: a connection too many is hung up on."""

    _limit = 0
    _looked = 0.0

    def cap(self, limit: int) -> None:
        """Hold ``limit`` connections at most, upgraded ones included."""
        self._limit = limit
        self._streams: set[tornado.iostream.IOStream] = set()

    def handle_stream(self, stream: tornado.iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Serve a new connection while there is room."""
        now = time.monotonic()
        if len(self._streams) >= self._limit and now - self._looked > _LOOK_S:
            self._looked = now
            self._streams = {known for known in self._streams if not known.closed()}
        if len(self._streams) >= self._limit:
            stream.close()
            return
        self._streams.add(stream)
        super().handle_stream(stream, address)


class Door(socket.socket):
    """A listening socket that hangs up on whoever comes when there is no file descriptor left.

    Else they would stand in the queue, and the loop would be told of them again and again.
    """

    _spare = -1
    _complained = float("-inf")

    def keep_spare(self) -> None:
        """Keep a descriptor for the moment when there is no other."""
        with contextlib.suppress(OSError):  # taken by another thread: the next one waits
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, or turn it away."""
        try:
            return super().accept()
        except OSError as err:
            if err.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_S:
            self._complained = now
            logger.error("There are no file descriptors left: connections are turned away.")
        os.close(self._spare)
        self._spare = -1
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        self.keep_spare()
        raise BlockingIOError(errno.EAGAIN, "turned away")

    def close(self) -> None:
        """Close it."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        super().close()


def _door(listening: socket.socket) -> socket.socket:
    door = Door(fileno=listening.detach())
    door.setblocking(False)
    door.keep_spare()
    return door


def bind(host: str, port: int, last: int) -> list[socket.socket]:
    """Return listening sockets on ``port``, or if that is 0 on ``last`` when it is free, else on any.

    Raises
    ------
    ServiceStartError
        If the address cannot be used.
    """
    try:
        return [_door(each) for each in tornado.netutil.bind_sockets(port or last, host)]
    except OSError as err:
        if err.errno == errno.EADDRINUSE and not port:
            return [_door(each) for each in tornado.netutil.bind_sockets(0, host)]
        raise ServiceStartError(
            f"The hub service cannot listen on {host} port {port or last}: {err.strerror or err}. "
            "Choose another with --port, or 0 for any that is free."
        ) from err


def raise_descriptor_limit() -> None:
    """Allow this process as many files and connections as its owner may have, up to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_limit() -> int:
    """Return how many connections each of our two ports may hold, so that files can still be opened."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = _DESCRIPTORS
    return max(16, (soft - min(_RESERVE, soft // 2)) // 2)


def tls_context(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    """Return what TLS needs.

    Raises
    ------
    ConfigError
        If the files are not a certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile)
    except (ssl.SSLError, OSError) as err:
        raise ConfigError(f"{certfile} and its key cannot be used for TLS: {err}") from err
    return context
