"""What the agent may ask of an engine host, and what it hears back.

The agent is one thread around one poller. The engine host lives in that thread: it lends the agent
what to poll on, is told when something is ready, and hands back facts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import Event, FunctionBody, Outcome, TaskOptions


@dataclass(frozen=True, slots=True)
class Call:
    """One task to run now.

    Attributes
    ----------
    task_id : str
        The task.
    tag : int
        Its lease; handed back with every fact about it.
    function_id : str
        A function the host was given with `EngineHost.learn`.
    payload : bytes
        The arguments, unless they are in ``path``.
    path : Path or None
        A file with the arguments' payload, readable where the workers are.
    options : TaskOptions
        Walltime and the like.
    suspect : bool
        It may be what killed whoever ran it before, so it runs alone and says when it begins.
    """

    task_id: str
    tag: int
    function_id: str
    payload: bytes = b""
    path: Path | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A worker is in the user's function (told only for calls that run for more than about 50 ms)."""

    task_id: str
    tag: int
    execution: str
    time: float
    worker: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallOutput:
    """Events ``first``, ``first + 1``, ... of a running call."""

    task_id: str
    execution: str
    first: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class CallDone:
    """The call ended with an outcome. ``events`` are all of its events that were not in a `CallOutput`.

    ``path`` is a file that holds the result's payload when it was too large for a message; the
    outcome's payload is empty then, and the agent uploads the file and deletes it.
    """

    task_id: str
    tag: int
    execution: str
    outcome: Outcome
    first: int
    events: list[Event]
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class CallLost:
    """The worker died while it ran this call; calls it merely held were given to others silently."""

    task_id: str
    tag: int
    execution: str
    evidence: str


EngineFact: TypeAlias = CallStarted | CallOutput | CallDone | CallLost


class EngineHost(Protocol):
    """Sessions, side channel and supervised engine behind one object."""

    def start(self) -> None:
        """Bind the side channel and start the engine process."""

    def pollables(self) -> Sequence[Any]:
        """Return ZeroMQ sockets and file descriptors to poll for input; may change between calls."""

    def learn(self, function: FunctionBody) -> None:
        """Remember a function; calls may name it from now on."""

    def submit(self, calls: Sequence[Call]) -> None:
        """Take calls; each ends in exactly one `CallDone` or `CallLost`, unless cancelled before it ran."""

    def cancel(self, task_id: str) -> bool:
        """Stop a call. False: it is unknown here. A call that never ran yields no fact at all."""

    def give_back(self, task_id: str) -> bool:
        """Forget a call that no worker has, without a fact. False: a worker has it, or it is unknown."""

    def poll(self, now: float, ready: Collection[Any] | None = None) -> list[EngineFact]:
        """Handle whatever is ready and every timer that is due at monotonic ``now`` (seconds).

        ``ready`` is what of `pollables` is known to have input; None: look at all of them.
        """

    def next_deadline(self, now: float) -> float:
        """Return the monotonic time (seconds) at which `poll` wants to be called at the latest."""

    @property
    def credit(self) -> int:
        """How many calls in flight keep all workers busy for about a second; at least 2 a worker."""

    @property
    def waiting_reason(self) -> str:
        """Why calls wait, for people: ``""`` when workers are up, else e.g. ``"block 0 pending"``."""

    @property
    def environment(self) -> Environment | None:
        """What a worker has told of its environment last, if one has."""

    def status(self) -> dict[str, Any]:
        """Return JSON facts: workers, busy, queued, blocks, engine state, restarts."""

    def stop(self, timeout: float) -> None:
        """End sessions, engine and every process and batch job of it within ``timeout`` seconds."""
