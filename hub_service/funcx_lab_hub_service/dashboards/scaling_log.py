"""How each endpoint grew and shrank: samples of its heartbeats, and the reason for every step."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: A sample is kept when something changed, else once in so many seconds.
QUIET_S = 60.0
#: Kept for each endpoint: samples (six quiet hours, or as many changes), and steps.
SAMPLES, STEPS = 3000, 500
#: So many endpoints are kept; the one that was silent longest is forgotten first.
ENDPOINTS_LIMIT = 500
#: Characters of a reason, and blocks told apart: an endpoint says what it likes.
_LONGEST, _BLOCKS = 200, 1000
#: States of a block that has its nodes.
_UP = ("running", "up")


@dataclass(frozen=True, slots=True)
class Size:
    """How large an endpoint is at ``time`` (Unix seconds)."""

    time: float
    blocks: int
    pending: int
    nodes: int
    workers: int
    busy: int
    queued: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of scaling: ``change`` is ``"out"``, ``"up"``, ``"in"`` or ``"away"``."""

    time: float
    change: str
    what: str
    reason: str


@dataclass(slots=True)
class _Endpoint:
    sizes: deque[Size] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS))
    blocks: dict[str, str] = field(default_factory=dict)
    is_online: bool | None = None
    #: the newest look, kept in `sizes` only if it says something new
    last: Size | None = None


class ScalingLog:
    """What the heartbeats said about size."""

    def __init__(self) -> None:
        self._endpoints: OrderedDict[str, _Endpoint] = OrderedDict()

    def note(
        self, endpoint_id: str, now: float, *, online: bool, reason: str, status: Mapping[str, Any]
    ) -> None:
        """Take an endpoint's condition at ``now`` (Unix seconds)."""
        known = self._endpoints.setdefault(endpoint_id, _Endpoint())
        self._endpoints.move_to_end(endpoint_id)
        if len(self._endpoints) > ENDPOINTS_LIMIT:
            self._endpoints.popitem(last=False)
        blocks = _blocks(status) if online else {}
        size = _size(now, blocks, status if online else {})
        if online:
            _note_blocks(known, blocks, now, size)
        if known.is_online is not online and known.is_online is not None:
            change, what = ("up", "endpoint online") if online else ("away", "endpoint offline")
            known.steps.append(Step(now, change, what, reason[:_LONGEST]))
        known.is_online = online
        _keep(known, size)

    def sizes(self, endpoint_id: str, start: float) -> list[Size]:
        """Return the sizes from ``start`` (Unix seconds) on, oldest first, and the one before."""
        known = self._endpoints.get(endpoint_id)
        if known is None:
            return []
        sizes = [*known.sizes] + ([known.last] if known.last is not None else [])
        first = next((n for n, size in enumerate(sizes) if size.time >= start), len(sizes) - 1)
        return sizes[max(0, first - 1) :]

    def steps(self, endpoint_id: str, start: float) -> list[Step]:
        """Return the steps from ``start`` (Unix seconds) on, oldest first."""
        known = self._endpoints.get(endpoint_id)
        return [] if known is None else [step for step in known.steps if step.time >= start]


def _keep(known: _Endpoint, size: Size) -> None:
    """Keep a size that differs, with the one before it, so that lines between them are level."""
    last, kept = known.last, known.sizes[-1] if known.sizes else None
    if kept is None or _numbers(size) != _numbers(kept) or size.time - kept.time >= QUIET_S:
        if last is not None and kept is not None and last.time > kept.time:
            known.sizes.append(last)
        known.sizes.append(size)
    known.last = size


def _numbers(size: Size) -> tuple[int, ...]:
    return size.blocks, size.pending, size.nodes, size.workers, size.busy, size.queued


def _note_blocks(known: _Endpoint, blocks: dict[str, tuple[str, str]], now: float, size: Size) -> None:
    """Note a step for every block that came, went or changed its state."""
    for name, (state, why) in blocks.items():
        before = known.blocks.get(name)
        if before is None:
            demand = f"{size.queued} calls wait for {size.workers} workers" if size.queued else ""
            said = "; ".join(text for text in (why, demand) if text) or "the engine keeps so many blocks"
            known.steps.append(Step(now, "out", f"block {name} asked for ({state})", said))
        elif before != state:
            known.steps.append(Step(now, "up" if state in _UP else "away", f"block {name} {state}", why))
    for name in known.blocks.keys() - blocks.keys():
        idle = "no call waited for it" if not size.queued else "its job ended"
        known.steps.append(Step(now, "in", f"block {name} released", idle))
    known.blocks = {name: state for name, (state, _) in blocks.items()}


def _blocks(status: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return state and reason of each block that a status report names."""
    told = status.get("blocks")
    if not isinstance(told, dict):
        return {}
    blocks: dict[str, tuple[str, str]] = {}
    for name, facts in list(told.items())[:_BLOCKS]:
        facts = facts if isinstance(facts, dict) else {}
        state, reason = facts.get("state"), facts.get("reason")
        blocks[str(name)[:80]] = (str(state or "there")[:40], str(reason or "")[:_LONGEST])
    return blocks


def _size(now: float, blocks: dict[str, tuple[str, str]], status: Mapping[str, Any]) -> Size:
    pending = sum(state not in _UP for state, _ in blocks.values())
    numbers = (_number(status.get(name)) for name in ("managers", "workers", "busy", "queued"))
    return Size(now, len(blocks), pending, *numbers)


def _number(value: object) -> int:
    """Return what an endpoint said if it can be shown as a count."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 10**9 else 0
