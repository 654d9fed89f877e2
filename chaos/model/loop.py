"""An event loop that runs when it is told to, on a clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

WALL_AT_START = 1_700_000_000.0


class Clock:
    """Stands in for the module ``time`` in the modules of a world."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: seconds that the wall clock is off
        self.skew = 0.0

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self.now

    perf_counter = monotonic

    def time(self) -> float:
        """Return the Unix time that the machines of this world believe in."""
        return WALL_AT_START + self.now + self.skew

    def localtime(self, seconds: float | None = None) -> time.struct_time:
        """Return a date."""
        return time.gmtime(self.time() if seconds is None else seconds)

    def strftime(self, _format: str, _time: object = None) -> str:
        """Return the same text always: reasons are for people."""
        return "12:00:00"


class SteppedLoop(asyncio.AbstractEventLoop):
    """Callbacks, futures, tasks and timers; `run` does what is due and returns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        #: what callbacks and tasks raised
        self.errors: list[BaseException] = []

    def enter(self) -> None:
        """Be the running loop of this thread."""
        asyncio._set_running_loop(self)

    def leave(self) -> None:
        """Be it no more."""
        asyncio._set_running_loop(None)

    def run(self) -> None:
        """Do what is due now."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][0] <= self._clock.now:
            ready.append(heapq.heappop(timers)[2])
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def time(self) -> float:
        """Return the clock's seconds."""
        return self._clock.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        """Call in the next `run`."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call after ``delay`` seconds."""
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call at ``when``."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:
        """Return a task."""
        return asyncio.Task(coro, loop=self)

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return True."""
        return True

    def is_closed(self) -> bool:
        """Return False."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what was raised; tasks that a crash left behind raise nothing."""
        if isinstance(error := context.get("exception"), BaseException):
            self.errors.append(error)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Take note of nothing: a cancelled timer is passed over when it is due."""
