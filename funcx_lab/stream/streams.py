"""The streams of this process: one for each hub service and token; what happens to them at exit and fork."""

from __future__ import annotations

import atexit
import logging
import os
import threading

from funcx_lab.config import Service, home
from funcx_lab.stream.stream import Stream
from funcx_lab.transport import Transport

logger = logging.getLogger(__name__)

#: How long to wait at exit for tasks that are not handed over yet.
EXIT_TIMEOUT_S = 10.0

_streams: dict[object, Stream] = {}
_lock = threading.Lock()


def open_stream(service: Service) -> Stream:
    """Return the process's stream to ``service``; it connects at the first need."""
    key: object = ("embedded", home()) if service.embedded else (service.url, service.token)
    with _lock:
        stream = _streams.get(key)
        if stream is None or stream.error is not None:
            stream = _streams[key] = Stream(Transport(service))
        return stream


def close_streams(where: str = "") -> None:
    """End the threads of the streams whose service's address or home directory contains ``where``."""
    for key in [key for key in _streams if where in str(key)]:
        _streams.pop(key).close()


def _hand_over() -> None:
    """At exit: hand over what was submitted, then end the threads."""
    for stream in list(_streams.values()):
        if stream.busy and not stream.flush(EXIT_TIMEOUT_S):
            logger.warning(
                "Some tasks could not be handed over to %s: the next program that uses it does so.",
                stream.transport.service.url,
            )
    close_streams()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for stream in _streams.values():
        stream.abandon()


atexit.register(_hand_over)
os.register_at_fork(after_in_child=_after_fork)
