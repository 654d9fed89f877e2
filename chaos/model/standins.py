"""Puts the clock, sockets and numbers of a world in the place of the real ones."""

from __future__ import annotations

import logging
import secrets
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

from chaos.model.hub import AgentSocket
from funcx_lab_endpoint import agent_state, digests, link_session, outbox, spool
from funcx_lab_endpoint.engine import side_channel
from funcx_lab_endpoint.worker import channel, wire
from funcx_lab_hub_service import endpoints, facts, functions, tasks
from funcx_lab_hub_service.forwarder import dispatch_state, forwarder
from funcx_lab_hub_service.store import database

if TYPE_CHECKING:
    from chaos.model.world import World

_ON_THE_CLOCK = (endpoints, facts, functions, tasks, forwarder, database, wire)
#: A history lasts seconds: everybody's patience is shorter here, in proportion.
_PATIENCE: dict[ModuleType, dict[str, float]] = {
    agent_state: {
        "HEARTBEAT_S": 0.5,
        "ORPHAN_GRACE_S": 6.0,
        "SWEEP_S": 0.5,
        "ALONE_S": 3.0,
        "DELIVERY_S": 2.0,
    },
    digests: {"DIGEST_S": 4.0},
    link_session: {"HANDSHAKE_S": 0.5},
    outbox: {"RESEND_S": 2.0},
    channel: {"PATIENCE_S": 0.3, "PATIENCE_LIMIT_S": 3.0},
    wire: {"BEAT_S": 0.4},
    side_channel: {"BEAT_S": 0.4},
    dispatch_state: {"SILENCE_S": 2.0, "RETRANSMIT_S": 0.5},
    forwarder: {"_TICK_S": 0.1},
}


def _put(module: ModuleType, name: str, value: object) -> None:
    """Put ``value`` in the place of what the module has under that name."""
    if not hasattr(module, name):
        raise AttributeError(f"{module.__name__} has no {name} any more")
    setattr(module, name, value)


def install(world: World) -> None:
    """Make every module live in ``world``."""

    def token_hex(nbytes: int) -> str:
        return f"{world.r.getrandbits(8 * nbytes):0{2 * nbytes}x}"

    for module in _ON_THE_CLOCK:
        _put(module, "time", world.clock)
    numbers = SimpleNamespace(token_hex=token_hex, compare_digest=secrets.compare_digest)
    for module in (side_channel, spool):
        _put(module, "secrets", numbers)
    AgentSocket.world = _errors.world = world


class _Errors(logging.Handler):
    """Makes a flaw of what a program says it did not expect."""

    world: World

    def emit(self, record: logging.LogRecord) -> None:
        """Take an entry of the log."""
        if record.exc_info is not None:
            self.world.truth.flaw("an error nobody expected", record.getMessage(), repr(record.exc_info[1]))


_errors = _Errors()
for _name in ("funcx_lab_hub_service", "funcx_lab_endpoint"):
    _log = logging.getLogger(_name)
    _log.setLevel(logging.ERROR)
    _log.propagate = False
    _log.addHandler(_errors)
_put(forwarder, "AgentSocket", AgentSocket)
_put(forwarder, "load_key", lambda _path: b"")
_put(forwarder, "zmq", SimpleNamespace(curve_public=lambda _secret: b""))
_put(wire, "resident_bytes", lambda: 0)
for _module, _seconds in _PATIENCE.items():
    for _name, _value in _seconds.items():
        _put(_module, _name, _value)
