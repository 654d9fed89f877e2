"""Calls whose requirements the worker's environment does not meet: they run in a process of another one.

The process stays for the next calls of the same environment, so that imports are made once; it ends
with its worker. What calls print goes the worker's way, since the process has its stdout and stderr;
what they show and how they end comes over a socket.
"""

from __future__ import annotations

import contextlib
import platform
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from funcx_lab.errors import RequirementsFailed, RequirementsRefused
from funcx_lab.protocol.messages import ErrorInfo, FunctionBody
from funcx_lab.shell.process import end_group, has_ended, uninterrupted
from funcx_lab_endpoint.worker import apart_messages as m
from funcx_lab_endpoint.worker.call import Ended
from funcx_lab_endpoint.worker.environments import Environment, Environments
from funcx_lab_endpoint.worker.messages import Run
from funcx_lab_endpoint.worker.requirements import lacking
from funcx_lab_endpoint.worker.surroundings import Interrupter

#: Without the working directory, whose files may be called like modules.
_MAIN = "import sys; del sys.path[0]; from funcx_lab_endpoint.worker.apart_child import main; main()"
#: Seconds between looks whether the process lives.
_LOOK_S = 0.2


class Elsewhere:
    """Runs calls in the environments that they require.

    Parameters
    ----------
    setup : Setup
        For the processes that run them.
    environments : Environments or None
        None: the endpoint's owner does not let calls have environments of their own.
    interrupter : Interrupter
        Armed while a call runs or its environment is built.
    add_event : callable
        Takes ``(kind, data)`` of what calls show.
    """

    def __init__(
        self,
        setup: m.Setup,
        environments: Environments | None,
        interrupter: Interrupter,
        add_event: Callable[[str, Any], None],
    ) -> None:
        self._setup, self._environments = setup, environments
        self._interrupter, self._add_event = interrupter, add_event
        self._met: set[tuple[str, ...]] = set()
        self._process: _Process | None = None

    def perform(self, run: Run, function: FunctionBody | None) -> Ended | None:
        """Run a call to its end; None: what it requires is here, so it can run here.

        Raises
        ------
        UsageError
            If it requires what is no requirement.
        RequirementsRefused, RequirementsFailed
            If what it requires is not here, and may not or cannot be built.
        KeyboardInterrupt
            If it was stopped.
        """
        wanted = tuple(run.requires)
        if wanted in self._met:
            return None
        missing = lacking(wanted)
        if not missing:
            self._met.add(wanted)
            return None
        if self._environments is None or run.session:
            raise _refused(missing, run)
        with self._armed():
            process = self._process_with(self._environments, wanted)
            try:
                return process.perform(msgspec.structs.replace(run, requires=[]), function)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _process_with(self, environments: Environments, wanted: tuple[str, ...]) -> _Process:
        if self._process is not None and (self._process.wanted != wanted or not self._process.is_alive):
            self.close()
        if self._process is None:
            self._process = _Process(wanted, _obtain(environments, wanted), self._setup, self._add_event)
        return self._process

    @contextlib.contextmanager
    def _armed(self) -> Iterator[None]:
        self._interrupter.is_armed = True
        try:
            yield
        finally:
            self._interrupter.is_armed = False


class _Process:
    """A Python of an environment, ready to run calls."""

    def __init__(
        self,
        wanted: tuple[str, ...],
        environment: Environment,
        setup: m.Setup,
        add_event: Callable[[str, Any], None],
    ) -> None:
        self.wanted = wanted
        self._environment, self._add_event = environment, add_event
        self._socket, theirs = socket.socketpair()
        words = [str(environment.python), "-c", _MAIN, str(theirs.fileno())]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        try:
            with uninterrupted(), theirs:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=environment.variables(),
                    start_new_session=True,
                )
            m.send(self._socket, setup)
            self._receive()
        except (m.Gone, OSError) as err:
            self.close()
            raise RequirementsFailed(
                f"The environment with {', '.join(wanted)} cannot run calls on {platform.node()}: its Python "
                f"does not start {err or '(what it wrote says why)'}. Do the requirements replace a package "
                "that funcx-lab needs?"
            ) from err
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and not self._is_closed and not has_ended(self._process)

    def perform(self, run: Run, function: FunctionBody | None) -> Ended:
        """Run a call to its end, its own or the process's."""
        try:
            m.send(self._socket, m.Work(run, function))
            while isinstance(message := self._receive(), m.Shown):
                self._add_event(message.kind, message.data)
                m.send(self._socket, m.Seen())
        except m.Gone:
            return Ended(False, error=self._obituary())
        if not isinstance(message, m.Finished):
            raise TypeError(f"{type(message).__name__} is no answer")
        return Ended(message.ok, message.payload, message.error, message.path)

    def close(self) -> None:
        """End it and its group: it may clean up first, as at Ctrl-C."""
        if self._is_closed:
            return
        self._is_closed = True
        self._socket.close()  # at the end of its call it sees that nobody waits for it
        if self._process is not None:
            end_group(self._process, signal.SIGINT)
        self._environment.release()

    def _receive(self) -> m.Message:
        return m.receive(self._socket, lambda: not self.is_alive, _LOOK_S)

    def _obituary(self) -> ErrorInfo:
        assert self._process is not None  # noqa: S101  # it was started
        deadline = time.monotonic() + _LOOK_S
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        self.close()
        return ErrorInfo(
            "WORKER_LOST",
            f"The process that ran the call with {', '.join(self.wanted)} {_how(self._process.returncode)}; "
            "its worker goes on.",
            details={"returncode": self._process.returncode},
        )


def _obtain(environments: Environments, wanted: tuple[str, ...]) -> Environment:
    try:
        return environments.obtain(wanted)
    except OSError as err:
        raise RequirementsFailed(
            f"An environment with {', '.join(wanted)} cannot be built on {platform.node()}: {err}"
        ) from err


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def _refused(missing: Sequence[str], run: Run) -> RequirementsRefused:
    where = f"{platform.node()} (Python {platform.python_version()})"
    if run.session:
        remedy = "a named session lives in the worker's own environment, so leave out one of the two"
    else:
        remedy = (
            "choose an endpoint that has it, or ask this one's owner to install it or to let calls have "
            "environments of their own (allow_requirements=True in its config.py)"
        )
    return RequirementsRefused(
        f"{where} lacks {', '.join(missing)}: {remedy}.", details={"missing": list(missing)}
    )


def make_environments(directory: str, keep: int) -> Environments | None:
    """Return the environments below a directory; None if there is none."""
    return Environments(Path(directory), keep) if directory else None
