"""How many tasks ended, how, and with how many bytes: counted in steps of a few seconds."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Seconds of one step, and how many steps are kept: an hour.
STEP_S, STEPS = 5, 720
#: So many pairs of owner and endpoint are counted; the one that was quiet longest is forgotten first.
PAIRS_LIMIT = 2000
#: Kinds of failure told apart in one step; more are ``OTHER``.
KINDS_LIMIT = 20


@dataclass(slots=True)
class Tally:
    """What ended within one step.

    Attributes
    ----------
    start : int
        Unix seconds at which the step began.
    sent, returned : int
        Bytes of the arguments and of the results of these tasks.
    failures : dict
        How many failed, by exception or error code.
    """

    start: int
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    sent: int = 0
    returned: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def count(self, state: str, code: str, sent: int, returned: int) -> None:
        """Count one task that ended in ``state``, of the kind ``code`` if it failed."""
        if state == "success":
            self.succeeded += 1
        elif state == "failed":
            self.failed += 1
            if code not in self.failures and len(self.failures) >= KINDS_LIMIT:
                code = "OTHER"
            self.failures[code] = self.failures.get(code, 0) + 1
        else:
            self.stopped += 1
        self.sent += sent
        self.returned += returned

    def add(self, other: Tally) -> None:
        """Add the numbers of another endpoint in the same step."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.stopped += other.stopped
        self.sent += other.sent
        self.returned += other.returned
        for code, n in other.failures.items():
            self.failures[code] = self.failures.get(code, 0) + n


class Tallies:
    """The tallies of every owner and endpoint."""

    def __init__(self) -> None:
        self._steps: OrderedDict[tuple[str, str], deque[Tally]] = OrderedDict()

    def now(self, owner: str, endpoint_id: str, now: float) -> Tally:
        """Return the tally of the step that ``now`` (Unix seconds) is in."""
        steps = self._steps.get((owner, endpoint_id))
        if steps is None:
            steps = self._steps[owner, endpoint_id] = deque(maxlen=STEPS)
            if len(self._steps) > PAIRS_LIMIT:
                self._steps.popitem(last=False)
        start = int(now) // STEP_S * STEP_S
        if not steps or steps[-1].start < start:
            steps.append(Tally(start))
            self._steps.move_to_end((owner, endpoint_id))
        return steps[-1]

    def since(self, owner: str, endpoint_id: str | None, start: float) -> list[Tally]:
        """Return the owner's tallies from ``start`` (Unix seconds) on, oldest first, no empty ones.

        ``endpoint_id`` None adds up all endpoints.
        """
        sums: dict[int, Tally] = {}
        for tally in self._of(owner, endpoint_id):
            if tally.start + STEP_S > start:
                sums.setdefault(tally.start, Tally(tally.start)).add(tally)
        return [sums[key] for key in sorted(sums)]

    def _of(self, owner: str, endpoint_id: str | None) -> Iterator[Tally]:
        if endpoint_id is not None:
            yield from self._steps.get((owner, endpoint_id), ())
            return
        for (each, _), steps in self._steps.items():
            if each == owner:
                yield from steps
