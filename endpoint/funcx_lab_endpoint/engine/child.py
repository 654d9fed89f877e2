"""The engine process: ``python -m funcx_lab_endpoint.engine.child``, a child of the agent.

A line of JSON per command on stdin, a line of JSON per event on stdout. It lives apart from the
agent since a Parsl executor can hang or die silently; then it is killed and started anew. When
stdin ends, the agent is gone: everything that carries this engine's mark is ended.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Protocol

from funcx_lab.errors import FuncxLabError
from funcx_lab_endpoint.config import EndpointConfig, load_config
from funcx_lab_endpoint.engine.leftovers import MARK, end_marked
from funcx_lab_endpoint.engine.processes import Processes
from funcx_lab_endpoint.engine.tether import signal_at_parents_end

logger = logging.getLogger(__name__)

#: Seconds between looks at the engine and between status reports.
PERIOD_S = 0.25
STATUS_S = 1.0
#: Seconds that an engine without an agent takes to give its blocks back before it kills what is left.
STOP_LIMIT_S = 15.0


class Blocks(Protocol):
    """What runs sessions: `Processes` or `ParslBlocks`."""

    def start(self) -> dict[str, Any]: ...  # noqa: D102
    def open(self, arguments: dict[str, Any]) -> None: ...  # noqa: D102
    def poll(self) -> list[tuple[str, str]]: ...  # noqa: D102
    def status(self) -> dict[str, Any]: ...  # noqa: D102
    def end_block(self, name: str) -> None: ...  # noqa: D102
    def cancel(self, jobs: list[str]) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102


class Child:
    """Reads commands, reports events."""

    def __init__(self, commands: IO[bytes], events: IO[bytes]) -> None:
        self._commands, self._events = commands, events
        self._buffer = b""
        #: the agent is gone without a word
        self.is_orphan = False
        self._next_status = 0.0
        self._blocks: Blocks | None = None

    def run(self) -> None:
        """Serve until told to stop or until the agent is gone."""
        setup = json.loads(self._commands.readline())
        self._blocks = blocks = _blocks(setup)
        self._say(event="ready", pid=os.getpid(), **blocks.start())
        while True:
            for command in self._read():
                if not self._obey(command):
                    return
            for sid, how in blocks.poll():
                self._say(event="ended", sid=sid, how=how)
            if time.monotonic() >= self._next_status:
                self._next_status = time.monotonic() + STATUS_S
                self._say(event="status", **blocks.status())

    def stop_blocks(self) -> None:
        """Give the blocks back, for at most a while: a scheduler may hang."""
        if self._blocks is not None:
            stopping = threading.Thread(target=self._blocks.stop, daemon=True)
            stopping.start()
            stopping.join(STOP_LIMIT_S)

    def _obey(self, command: dict[str, Any] | None) -> bool:
        """Do as told; False: it is over."""
        blocks = self._blocks
        if command is None or blocks is None:
            self.is_orphan = True
            return False
        if "open" in command:
            blocks.open(command["open"])
        elif "end_block" in command:
            blocks.end_block(command["end_block"])
        elif "cancel" in command:
            blocks.cancel(command["cancel"])
        elif "stop" in command:
            blocks.stop()
            self._say(event="stopped")
            return False
        return True

    def fatal(self, message: str) -> None:
        """Tell why this engine cannot go on."""
        self._say(event="fatal", message=message)

    def _read(self) -> list[dict[str, Any] | None]:
        """Return the commands that have come; None last: there will be no more."""
        ready, _, _ = select.select([self._commands], [], [], PERIOD_S)
        if not ready:
            return []
        data = os.read(self._commands.fileno(), 1 << 20)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        commands: list[dict[str, Any] | None] = [json.loads(line) for line in lines]
        return commands if data else [*commands, None]

    def _say(self, **event: Any) -> None:
        self._events.write(json.dumps(event).encode() + b"\n")
        self._events.flush()


def main() -> None:
    """Run the engine process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_at_parents_end(signal.SIGCONT)  # if it is stopped when the agent ends, it still cleans up
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    commands, events = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what libraries print goes to the log, not between the events
    child = Child(commands, events)
    try:
        child.run()
    except FuncxLabError as err:
        child.fatal(err.message)
    except BrokenPipeError:
        child.is_orphan = True
    except Exception as err:  # the edge of this process: told, logged, then over
        logger.exception("The engine failed")
        child.fatal(f"{type(err).__name__}: {err}")
    finally:
        mark = os.environ.get(MARK)
        if mark and child.is_orphan:
            child.stop_blocks()
            end_marked(mark)
        logging.shutdown()
        os._exit(0)  # threads of Parsl may never end


def _blocks(setup: dict[str, Any]) -> Blocks:
    path = Path(setup["config"])
    config = load_config(path) if path.exists() else EndpointConfig()
    if config.engine == "processes":
        return Processes(config.max_workers_per_node)
    from funcx_lab_endpoint.engine.parsl_blocks import ParslBlocks  # 0.6 s, only where it is used

    return ParslBlocks(config, Path(setup["directory"]))


if __name__ == "__main__":
    main()
