"""The stream: one background thread per process and hub service that submits tasks and hears outcomes.

Callers append to a deque and wake the thread. The thread sends whatever has gathered while it was
sending, so a loop of submits leaves in few messages and a single one waits for nothing. It keeps
connecting for as long as somebody waits for something. It never touches an event loop.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from funcx_lab.config import Service, home
from funcx_lab.errors import (
    ConfigError,
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ProtocolError,
    ServiceUnreachable,
    TransportError,
    UsageError,
)
from funcx_lab.handover import Inbox, Room
from funcx_lab.protocol.stream import NewTask, client_codec, service_codec
from funcx_lab.sinks import CancelAnswer, EventSink, TaskSink
from funcx_lab.stream_state import IDS_AT_ONCE, StreamState
from funcx_lab.submit_queue import Route, cost
from funcx_lab.transport import Transport

if TYPE_CHECKING:
    from funcx_lab.websocket import WebSocket

logger = logging.getLogger(__name__)

#: Submits wait while so many bytes are not yet acknowledged.
ROOM_BYTES = 64 * 1024 * 1024
#: Nothing is answered sooner than this (seconds); what is submitted meanwhile leaves in one message.
NAP_S = 0.0002
#: Messages are made until this many bytes wait for the socket.
HIGH_WATER = 1024 * 1024
#: After so many seconds of silence a ping is sent, and then the connection is given up.
PING_S, SILENCE_S = 15.0, 30.0
#: Pauses between connection attempts, in seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 4.0
#: A service that cannot be started is tried so often.
START_ATTEMPTS = 3
#: How long to wait for an answer to a cancel, and at exit for tasks that are not handed over yet.
ANSWER_TIMEOUT_S, EXIT_TIMEOUT_S = 30.0, 10.0

_FINAL = (NotAuthenticated, NotAuthorized, ProtocolError)


class Stream:
    """One stream to one hub service; see `open_stream`. All methods may be called from any thread.

    Parameters
    ----------
    transport : Transport
        Knows the service's address and finds it again.

    Attributes
    ----------
    error : FuncxLabError or None
        Why the stream ended for good; `open_stream` makes a new one then.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._reset()

    def _reset(self) -> None:
        self.error: FuncxLabError | None = None
        self._state = StreamState()
        self._lock = threading.Lock()
        self._room = Room(ROOM_BYTES)
        self._inbox = Inbox()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._closing = False
        self._flushed: list[threading.Event] = []
        self._websocket: WebSocket | None = None

    # --- for callers ------------------------------------------------------------------------------

    def submit(self, route: Route, task: NewTask, sink: TaskSink) -> None:
        """Send a task; waits only while `ROOM_BYTES` are unacknowledged.

        Raises
        ------
        FuncxLabError
            If the stream has ended for good: why.
        """
        self._room.reserve(cost(task), self._may_not_wait)
        self._say(StreamState.submit, route, task, sink)

    def watch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` how a task ends that was submitted elsewhere. Raises as `submit`."""
        self._say(StreamState.watch, task_id, sink)

    def unwatch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` no more. Raises as `submit`."""
        self._say(StreamState.unwatch, task_id, sink)

    def follow(self, task_id: str, after: int, sink: EventSink) -> None:
        """Tell ``sink`` the task's events behind ``after``. Raises as `submit`."""
        self._say(StreamState.follow, task_id, after, sink)

    def unfollow(self, task_id: str, sink: EventSink) -> None:
        """Tell ``sink`` no more. Raises as `submit`."""
        self._say(StreamState.unfollow, task_id, sink)

    def cancel(self, task_ids: Sequence[str], timeout: float = ANSWER_TIMEOUT_S) -> frozenset[str]:
        """Cancel tasks and return the ids of those that are cancelled now.

        In the stream's own thread (a done-callback) it cannot wait: all ids are returned.

        Raises
        ------
        ServiceTimeout
            If the service does not answer within ``timeout`` seconds.
        FuncxLabError
            If the stream has ended for good: why.
        """
        deadline = time.monotonic() + timeout
        parts = [task_ids[start : start + IDS_AT_ONCE] for start in range(0, len(task_ids), IDS_AT_ONCE)]
        answers = [CancelAnswer() for _ in parts]
        for part, answer in zip(parts, answers, strict=True):
            self._say(StreamState.cancel, list(part), answer)
        if self._is_own_thread():
            return frozenset(task_ids)
        return frozenset().union(*(answer.wait(deadline - time.monotonic()) for answer in answers))

    def flush(self, timeout: float) -> bool:
        """Wait until every task submitted so far is on the service's disk; False if it takes longer."""
        if self._thread is None or self.error is not None:
            return self.error is None
        done = threading.Event()
        self._say(_add_to, self._flushed, done)
        return done.wait(timeout)

    def close(self) -> None:
        """End the thread and the connection; whoever still waits gets a `UsageError`."""
        self._closing = True
        if (thread := self._thread) is not None:
            self._inbox.ring()
            if not self._is_own_thread():
                thread.join(timeout=2.0)

    # --- between callers and the thread -----------------------------------------------------------

    def _say(self, *command: Any) -> None:
        self._check()
        self._inbox.put(command)
        if self._thread is None:
            self._start()
        elif self.error is not None:  # the thread ended between the first look and the append
            self._fail_everything(self.error)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._inbox.open()
                self._thread = threading.Thread(target=self._run, name="funcx-lab-stream", daemon=True)
                self._thread.start()

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _may_not_wait(self) -> bool:
        # A done-callback must not wait for its own thread.
        return self.error is not None or self._is_own_thread()

    def _release(self) -> None:
        if freed := self._state.freed:
            self._state.freed = 0
            self._room.release(freed)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_connected()
        finally:
            self._inbox.close()

    def _keep_connected(self) -> None:
        pause, failures = FIRST_PAUSE_S, 0
        while self._wait_until_needed():
            try:
                self._connect()
                pause, failures = FIRST_PAUSE_S, 0
                self._serve()
            except _FINAL as error:
                self._fail_everything(error)
                return
            except FuncxLabError as error:
                failures += isinstance(error, ConfigError)
                if failures >= START_ATTEMPTS:
                    self._fail_everything(error)
                    return
                # Said aloud once per outage, when it lasts: whoever waits wants to know what for.
                level = logging.WARNING if pause < LONGEST_PAUSE_S <= 2 * pause else logging.INFO
                logger.log(level, "The stream to %s is down: %s", self.transport.service.url, error)
                self._disconnect()
                self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                pause = min(pause * 2, LONGEST_PAUSE_S)
            except Exception as error:  # the loop's edge: nobody may wait for ever because of a bug here
                logger.exception("The stream to %s failed", self.transport.service.url)
                self._fail_everything(ProtocolError(f"The stream failed: {error!r}. See the log."))
                return
        self._fail_everything(UsageError("The stream was closed; the tasks go on without it."))

    def _wait_until_needed(self) -> bool:
        """Sleep until somebody wants something; False when the stream is to end."""
        self._take_inbox()
        while self._state.idle and not self._closing:
            self._inbox.sleep(None)
            self._take_inbox()
        return not self._closing

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._closing and (left := end - time.monotonic()) > 0:
            self._inbox.sleep(left)
            self._take_inbox()

    def _connect(self) -> None:
        from funcx_lab.websocket import WebSocket

        wanted = self._wanted or self._state.unacknowledged
        self._websocket = WebSocket(_find_again(self.transport, start=wanted))
        self._wanted = False
        self._state.connected()

    def _disconnect(self) -> None:
        self._state.disconnected()
        if self._websocket is not None:
            self._websocket.close()
            self._websocket = None

    def _serve(self) -> None:
        websocket = self._websocket
        assert websocket is not None  # noqa: S101  # _connect made it; for the type checker
        heard = pinged = time.monotonic()
        while not self._closing:
            self._take_inbox()
            if self._send(websocket):
                time.sleep(NAP_S)
            if self._state.resend_pending:
                self._pause_and_resend()
            readable = self._inbox.sleep(PING_S, websocket)
            now = time.monotonic()
            if readable:
                messages, anything = websocket.receive()
                heard = now if anything else heard
                for message in messages:
                    self._state.receive(service_codec.decode(message))
                self._release()
            if now - heard > SILENCE_S:
                raise TransportError(f"Nothing was heard for {SILENCE_S:g} s.")
            if now - max(heard, pinged) >= PING_S:
                pinged = now
                websocket.ping()
        self._disconnect()

    def _send(self, websocket: WebSocket) -> bool:
        """Make messages while there is room for them, and write; whether any was made."""
        made = False
        while websocket.waiting < HIGH_WATER and (message := self._state.next_message()) is not None:
            websocket.send(client_codec.encode(message))
            made = True
        websocket.flush()
        self._release()
        return made

    def _take_inbox(self) -> None:
        commands, state = self._inbox.commands, self._state
        # What is asked of a service that was stopped starts it again; waiting for its tasks does not.
        self._wanted = self._wanted or (bool(commands) and self._websocket is None)
        while commands:
            command = commands.popleft()
            command[0](state, *command[1:])
        if self._flushed and not state.unacknowledged:
            for done in self._flushed:
                done.set()
            self._flushed.clear()

    def _pause_and_resend(self) -> None:
        self._rest(random.uniform(0.5, 1.0))  # noqa: S311  # jitter
        self._state.resend()

    def _fail_everything(self, error: FuncxLabError) -> None:
        with self._lock:
            self.error = error
            self._disconnect()
            while True:
                self._state.fail_all(error)
                if not self._inbox.commands:
                    break
                self._take_inbox()
            for done in self._flushed:
                done.set()
        self._release()

    # --- forks ------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Start anew in a forked child; the parent's tasks are the parent's."""
        if self._websocket is not None:
            self._websocket.abandon()
        if self._thread is not None and self.error is None:
            self._inbox.close()
        self._reset()


def _add_to(_: StreamState, waiting: list[threading.Event], done: threading.Event) -> None:
    waiting.append(done)


def _find_again(transport: Transport, *, start: bool) -> Service:
    """Return the service to connect to; the embedded one may have moved, or crashed and need a start."""
    if not transport.service.embedded:
        return transport.service
    from funcx_lab.embedded import running_service

    # A clean stop removes service.json: it shall not come back because a kernel still waits.
    if start or (home() / "service.json").exists():
        return transport.renew()
    service = running_service()
    if service is None:
        raise ServiceUnreachable("The local hub service was stopped; the next submit starts it again.")
    transport.service = service
    return service


# --- one stream per process and service -----------------------------------------------------------

_streams: dict[object, Stream] = {}
_streams_lock = threading.Lock()


def open_stream(service: Service) -> Stream:
    """Return this process's stream to ``service``; it connects at first need."""
    key: object = ("embedded", home()) if service.embedded else (service.url, service.token)
    with _streams_lock:
        stream = _streams.get(key)
        if stream is None or stream.error is not None:
            stream = _streams[key] = Stream(Transport(service))
        return stream


def _close_all() -> None:
    """At exit: hand over what was submitted, then end the threads."""
    for stream in list(_streams.values()):
        if stream.error is None and not stream.flush(EXIT_TIMEOUT_S):
            logger.warning("Some tasks could not be handed over to %s.", stream.transport.service.url)
        stream.close()


def _after_fork() -> None:
    global _streams_lock
    _streams_lock = threading.Lock()
    for stream in _streams.values():
        stream.abandon()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
