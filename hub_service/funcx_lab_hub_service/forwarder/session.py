"""One granted session of an endpoint's link, and who is granted none. No I/O, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import Hello, Reconciled, Refused
from funcx_lab_hub_service.forwarder.acknowledgements import Acknowledgements
from funcx_lab_hub_service.forwarder.digests import DigestCheck


@dataclass(slots=True)
class Session:
    """One granted session."""

    number: int
    instance: str
    nonce: str
    spool: str
    peer: bytes
    heard: float
    reconciling: bool = False
    #: the verdict on the inventory; tasks may leave from then on
    verdict: Reconciled | None = None
    #: functions that were sent in this session
    functions: set[str] = field(default_factory=set)
    acknowledgements: Acknowledgements = field(default_factory=Acknowledgements)
    digests: DigestCheck = field(default_factory=DigestCheck)
    #: tasks that ended or were lost while their inventory was being compared
    ended_early: set[str] = field(default_factory=set)
    #: results could not be stored: only a new session makes the agent send them again
    broken: bool = False


def refusal(hello: Hello, session: Session | None, now: float, silence_s: float) -> Refused | None:
    """Return why an agent gets no session beside ``session``, None if it may have one.

    Parameters
    ----------
    now : float
        Monotonic seconds.
    silence_s : float
        An agent that was not heard for so long does not count.
    """
    if not PROTOCOL_VERSION - 1 <= hello.version <= PROTOCOL_VERSION:
        message = (
            f"The agent speaks protocol version {hello.version}, the hub service {PROTOCOL_VERSION}; "
            "upgrade the older of the two."
        )
        return Refused(hello.nonce, "VERSION_MISMATCH", message)
    if session is None or session.instance == hello.instance or hello.takeover:
        return None
    silence = now - session.heard
    if silence >= silence_s:
        return None
    message = (
        f"Another agent of this endpoint was heard {silence:.0f} s ago. Stop it, "
        "or start this one with --takeover."
    )
    return Refused(hello.nonce, "ENDPOINT_BUSY", message)
