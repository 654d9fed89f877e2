"""The stream's thread: it stays connected while somebody waits, sends what has gathered, acts on answers."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from funcx_lab.errors import (
    ConfigError,
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ProtocolError,
    TransportError,
    UsageError,
)
from funcx_lab.pauses import Pause, asked_pause, slept_s
from funcx_lab.protocol.stream import service_codec
from funcx_lab.stream.handover import Inbox, Room
from funcx_lab.stream.journal import Entry, Journal, journal_directory
from funcx_lab.stream.reach import Attempt, Connection, Reach
from funcx_lab.stream.state import StreamState
from funcx_lab.stream.submit_queue import cost
from funcx_lab.transport import Transport

logger = logging.getLogger(__name__)

#: Submits wait while so many bytes are not yet acknowledged.
ROOM_BYTES = 64 * 1024 * 1024
#: Nothing is answered sooner than this (seconds); what is submitted meanwhile leaves in one message.
NAP_S = 0.0002
#: After so many seconds of silence a ping is sent, and then the connection is given up.
PING_S, SILENCE_S = 5.0, 15.0
#: A machine that was suspended for longer than this, in seconds, connects anew.
SLEPT_S = 2.0
#: Pauses between connection attempts, and before tasks that were refused for now are sent again, in seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 4.0
FIRST_RESEND_S, LONGEST_RESEND_S = 0.5, 30.0
#: A service that cannot be started is tried so often.
START_ATTEMPTS = 3
_LONG_S = 3600.0

_FINAL = (NotAuthenticated, NotAuthorized, ProtocolError)


class Loop:
    """What a stream's thread has and does. Other threads use ``inbox``, ``room``, ``closing`` and ``error``.

    Parameters
    ----------
    transport : Transport
        Knows the service's address and finds it again.
    """

    def __init__(self, transport: Transport) -> None:
        self.error: FuncxLabError | None = None
        self.closing = False
        self.room = Room(ROOM_BYTES)
        self.inbox = Inbox()
        self.connection: Connection | None = None
        self._transport = transport
        self._reach = Reach(transport)
        self._state = StreamState(clock=time.monotonic)
        self._journal = Journal(journal_directory(transport.service))
        self._lock = threading.Lock()
        self._wanted = False
        self._flushed: list[threading.Event] = []
        self._resend_pause = Pause(FIRST_RESEND_S, LONGEST_RESEND_S)
        self._resend_at: float | None = None

    def run(self) -> None:
        """Do the thread's work until the stream is closed or has failed for good."""
        try:
            self._adopt()
            self._keep_connected()
        except Exception as error:  # the loop's edge: nobody may wait for ever because of a bug here
            logger.exception("The stream to %s failed", self._transport.service.url)
            self.fail_everything(ProtocolError(f"The stream failed: {error!r}. See the log."))
        finally:
            self.inbox.close()
            self._journal.close()

    def flush(self, _: StreamState, done: threading.Event) -> None:
        """Set ``done`` when all tasks are acknowledged, also those of processes that are gone."""
        self._adopt()
        self._flushed.append(done)

    def fail_everything(self, error: FuncxLabError, *, for_good: bool = True) -> None:
        """Tell everybody who waits that nothing will come. In any thread once the loop has ended.

        Parameters
        ----------
        for_good : bool
            Whether the tasks that are not handed over shall not be either: those who wait for them are
            told so.
        """
        with self._lock:
            self.error = error
            self._disconnect()
            while True:
                self._state.fail_all(error)
                if not self.inbox.commands:
                    break
                self._take_commands()
            for done in self._flushed:
                done.set()
            self._release(settled=for_good)

    def abandon(self, *, was_running: bool) -> None:
        """Drop what a fork copied."""
        if self.connection is not None:
            self.connection.abandon()
        if was_running:
            self.inbox.close()
        self._journal.abandon()

    # --- connecting -------------------------------------------------------------------------------

    def _keep_connected(self) -> None:
        pause, failures = Pause(FIRST_PAUSE_S, LONGEST_PAUSE_S), 0
        while self._wait_until_needed():
            try:
                self._serve(self._connect())
                pause.reset()
                failures = 0
            except _FINAL as error:
                self.fail_everything(error)
                return
            except FuncxLabError as error:
                self._reach.failed(error)
                if self.connection is not None:
                    pause.reset()
                failures += isinstance(error, ConfigError)
                if failures >= START_ATTEMPTS:
                    self.fail_everything(error)
                    return
                self._disconnect()
                self._state.doubts = True
                # Said aloud once per outage, when it lasts: whoever waits wants to know what for.
                level = logging.WARNING if pause.is_long_now else logging.INFO
                logger.log(level, "The stream to %s is down: %s", self._transport.service.url, error)
                self._rest(pause.next(asked_pause(error)))
        closed = UsageError("The stream was closed; the tasks go on without it.")
        self.fail_everything(closed, for_good=False)

    def _wait_until_needed(self) -> bool:
        """Sleep until somebody wants something; False when the stream is to end."""
        self._take_inbox()
        while self._state.idle and not self.closing:
            self._sleep(_LONG_S)
            self._take_inbox()
        return not self.closing

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.closing and (left := end - time.monotonic()) > 0:
            self._sleep(left)
            self._take_inbox()

    def _connect(self) -> Connection:
        self._adopt()
        wanted = self._wanted or bool(self._state.unacknowledged)
        attempt = Attempt(partial(self._reach.connect, start=wanted), self.inbox.ring)
        # What is submitted meanwhile is in the journal at once, however long this takes.
        while not attempt.ended:
            if self.closing:
                attempt.abandon()
                raise TransportError("The stream was closed while it connected.")
            self._sleep(_LONG_S)
            self._take_inbox()
        connection = attempt.result()
        self.connection = connection
        self._wanted = False
        self._state.connected()
        return connection

    def _disconnect(self) -> None:
        self._state.disconnected()
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # --- connected --------------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        """Send and receive until the stream is closed or the connection has done its work."""
        heard = pinged = time.monotonic()
        slept = slept_s()
        while not self.closing:
            self._take_inbox()
            if self._send(connection):
                time.sleep(NAP_S)
            if connection.ended:
                break
            if self._sleep(PING_S, connection) and self._receive(connection):
                heard = time.monotonic()
                continue
            now = time.monotonic()
            if slept_s() - slept > SLEPT_S:
                raise TransportError("This machine was asleep.")
            if now - heard > SILENCE_S:
                raise TransportError(f"Nothing was heard for {SILENCE_S:g} s.")
            if now - max(heard, pinged) >= PING_S:
                pinged = now
                connection.ping()
        self._disconnect()

    def _send(self, connection: Connection) -> bool:
        """Make messages while there is room for them, and write; whether any was made."""
        made = False
        while connection.takes_more and (message := self._state.next_message()) is not None:
            connection.send(message)
            made = True
        connection.flush()
        self._release()
        return made

    def _receive(self, connection: Connection) -> bool:
        """Act on what has arrived; whether anything at all has."""
        messages, heard = connection.receive()
        if heard:
            self._reach.heard()
        for message in messages:
            self._state.receive(service_codec.decode(message))
        self._release()
        self._keep_missing()
        if self._state.resend_pending and self._resend_at is None:
            self._wait_to_resend()
        elif self._state.refusal is None:
            self._resend_pause.reset()
        return heard

    def _wait_to_resend(self) -> None:
        refusal = self._state.refusal
        if refusal is not None and self._resend_pause.is_first:
            logger.warning(
                "%s takes no tasks for now: %s They wait here and are sent again.",
                self._transport.service.url,
                refusal,
            )
        self._resend_at = time.monotonic() + self._resend_pause.next(asked_pause(refusal))

    # --- both -------------------------------------------------------------------------------------

    def _sleep(self, longest: float, connection: Connection | None = None) -> bool:
        """Sleep until there is something to do; whether the connection has something to read."""
        now = time.monotonic()
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_at = None
            self._state.resend()
            return False
        if self._resend_at is not None:
            longest = min(longest, self._resend_at - now)
        if (due_in := self._journal.tend(now)) is not None:
            longest = min(longest, due_in)
        return self.inbox.sleep(longest, connection)

    def _take_inbox(self) -> None:
        # What is asked of a service that was stopped starts it again; waiting for its tasks does not.
        self._wanted = self._wanted or (bool(self.inbox.commands) and self.connection is None)
        self._take_commands()
        if self._state.taken:
            self._journal.add(self._state.taken)
            self._state.taken.clear()
        if self._flushed and not self._state.unacknowledged:
            for done in self._flushed:
                done.set()
            self._flushed.clear()

    def _take_commands(self) -> None:
        commands, state = self.inbox.commands, self._state
        while commands:
            command = commands.popleft()
            command[0](state, *command[1:])

    def _release(self, *, settled: bool = True) -> None:
        """Give back the room of tasks that are settled, and cross them out in the journal."""
        if tasks := self._state.settled:
            self.room.release(sum(map(cost, tasks)))
            if settled:
                self._journal.settle(tasks)
            tasks.clear()

    def _keep_missing(self) -> None:
        """Take back what the service has lost."""
        if missing := self._state.missing:
            logger.warning(
                "%s has lost %d tasks that it had acknowledged: they are sent again.",
                *(self._transport.service.url, len(missing)),
            )
            for _, task in missing:
                self.room.reserve(cost(task), lambda: True)
            self._journal.add(missing)
            missing.clear()

    def _adopt(self) -> None:
        """Hand over the tasks of processes that are gone."""
        for entry in self._journal.adopt():
            self.room.reserve(cost(entry.task), lambda: True)
            self._state.hand_over(entry.route, entry.task, _Adopted(entry))


class _Adopted:
    """Nobody waits for the task here (a `TaskSink`): what happens to it is logged."""

    def __init__(self, entry: Entry) -> None:
        self._task_id = entry.task.task_id

    def accepted(self) -> None:
        logger.info("Task %s of a process that is gone was handed over.", self._task_id)

    def finish(self, _item: object) -> None:
        pass

    def ended_by_cancel(self) -> None:
        pass

    def fail(self, error: FuncxLabError) -> None:
        logger.warning("Task %s of a process that is gone was not taken: %s", self._task_id, error)
