"""Puts the clock, sockets and numbers of a world in the place of the real ones."""

from __future__ import annotations

import logging
import secrets
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

from chaos.model.hub import AgentSocket
from funcx_lab_endpoint import agent_state, digests, link_session, outbox
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


def install(world: World) -> None:
    """Make every module live in ``world``."""
    for module in _ON_THE_CLOCK:
        module.time = world.clock  # type: ignore[attr-defined]  # modules import time as a module
    AgentSocket.world = _errors.world = world
    side_channel.secrets = SimpleNamespace(  # type: ignore[attr-defined]  # as above
        token_hex=lambda n: f"{world.r.getrandbits(8 * n):0{2 * n}x}", compare_digest=secrets.compare_digest
    )


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
forwarder.AgentSocket = AgentSocket  # type: ignore[misc, assignment]
forwarder.load_key = lambda _path: b""
forwarder.zmq = SimpleNamespace(curve_public=lambda _secret: b"")  # type: ignore[attr-defined]
for _module, _seconds in _PATIENCE.items():
    for _name, _value in _seconds.items():
        if not hasattr(_module, _name):
            raise AttributeError(f"{_module.__name__} has no {_name} any more")
        setattr(_module, _name, _value)
wire.resident_bytes = lambda: 0
