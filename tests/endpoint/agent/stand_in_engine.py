"""A stand-in for the engine host: calls are orders in JSON, performed in the agent's own loop.

A config file that puts this module in the place of ``funcx_lab_endpoint.engine.host`` makes an agent use it.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from funcx_lab.protocol.messages import Event, FunctionBody, Outcome
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.contract import (
    Call,
    CallDone,
    CallLost,
    CallOutput,
    CallStarted,
    EngineFact,
)


class StandInEngineHost:
    """Performs ``{"do": "echo" | "wait" | "line" | "lose" | "large", "file": path}``.

    "line": no worker has it unless the file is there.
    """

    def __init__(self, config: EndpointConfig, directory: Path) -> None:
        self.directory = directory
        self.credit = 4
        self.waiting_reason = ""
        self.environment = None
        self.functions: dict[str, FunctionBody] = {}
        self._numbers = itertools.count(1)
        self._facts: list[EngineFact] = []
        self._waiting: dict[str, tuple[Call, str, Path]] = {}
        self._line: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        (self.directory / "child.pid").write_text(str(self._child.pid))
        (self.directory / "environment.json").write_text(json.dumps(dict(os.environ)))

    def pollables(self) -> Sequence[Any]:
        return []

    def learn(self, function: FunctionBody) -> None:
        self.functions[function.function_id] = function

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._perform(call)

    def _perform(self, call: Call) -> None:
        assert call.function_id in self.functions
        payload = call.path.read_bytes() if call.path else call.payload
        order = json.loads(payload)
        execution = f"{os.getpid()}:{next(self._numbers)}"
        what = order["do"]
        if what == "wait":
            worker = {"pid": os.getpid()}
            self._facts.append(CallStarted(call.task_id, call.tag, execution, 1.0, worker))
            self._facts.append(CallOutput(call.task_id, execution, 0, [Event(1.0, "stdout", "waiting\n")]))
            self._waiting[call.task_id] = (call, execution, Path(order["file"]))
        elif what == "line" and not Path(order["file"]).exists():
            self._line.add(call.task_id)
            (self.directory / "in_line").touch()
        elif what == "lose":
            self._facts.append(CallLost(call.task_id, call.tag, execution, "signal 9"))
        elif what == "large":
            path = self.directory / f"result-{call.task_id}"
            path.write_bytes(order["text"].encode() * order["times"])
            self._done(call, execution, b"", path)
        else:
            self._done(call, execution, payload)

    def _done(self, call: Call, execution: str, payload: bytes, path: Path | None = None) -> None:
        outcome = Outcome(ok=True, payload=payload)
        self._facts.append(CallDone(call.task_id, call.tag, execution, outcome, 0, [], path))

    def cancel(self, task_id: str) -> bool:
        return self._waiting.pop(task_id, None) is not None

    def give_back(self, task_id: str) -> bool:
        is_mine = task_id in self._line
        self._line.discard(task_id)
        return is_mine

    def poll(self, now: float, ready: Collection[Any] | None = None) -> list[EngineFact]:
        for task_id, (call, execution, path) in list(self._waiting.items()):
            if path.exists():
                del self._waiting[task_id]
                self._done(call, execution, path.read_bytes())
        facts, self._facts = self._facts, []
        return facts

    def next_deadline(self, now: float) -> float:
        if self._facts:
            return now
        return now + (0.02 if self._waiting else 60.0)

    def status(self) -> dict[str, Any]:
        return {"workers": 1, "engine": "stand-in"}

    def stop(self, timeout: float) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()


def open_host(config: EndpointConfig, directory: Path) -> StandInEngineHost:
    return StandInEngineHost(config, directory)


#: The text of a config file that makes an agent use this module.
CONFIG = f"""import importlib.util, sys
from funcx_lab_endpoint.config import Config

spec = importlib.util.spec_from_file_location("funcx_lab_endpoint.engine.host", {__file__!r})
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
config = Config(drain_seconds=2)
"""

if __name__ == "__main__":
    sys.exit("this is a module")
