"""A driver that stands in for the agent: one thread, one poller, around an engine host."""

import itertools
import time
from pathlib import Path

import zmq

from funcx_lab import serialize
from funcx_lab.protocol.messages import FunctionBody, TaskOptions
from funcx_lab.protocol.payload import INLINE_LIMIT
from funcx_lab_endpoint.config import load_config
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput, CallStarted
from funcx_lab_endpoint.engine.host import open_host

PROCESSES = 'Config(engine="processes", max_workers_per_node={workers}, result_limit=60_000_000)'


class Driver:
    def __init__(self, directory: Path, config: str) -> None:
        directory.mkdir(exist_ok=True)
        path = directory / "config.py"
        path.write_text(f"from funcx_lab_endpoint.config import Config\nconfig = {config}\n")
        self.directory = directory
        self.host = open_host(load_config(path), directory)
        self.facts = []
        self.pids = set()
        self._numbers = itertools.count(1)
        self._functions = {}
        self._polled = None
        self.host.start()

    def learn(self, function) -> str:
        is_packed = isinstance(function, serialize.PackedFunction)
        packed = function if is_packed else serialize.pack_function(function)
        if packed.sha256 not in self._functions:
            function_id = f"function-{next(self._numbers)}"
            self._functions[packed.sha256] = function_id
            self.host.learn(FunctionBody(function_id, packed.sha256, "funcx-lab", packed.name, packed.body))
        return self._functions[packed.sha256]

    def make(self, function, *args, **options) -> Call:
        payload = serialize.pack_arguments(args, {}).tobytes()
        path = None
        number = next(self._numbers)
        if len(payload) > INLINE_LIMIT:
            path = self.directory / f"arguments-{number}"
            path.write_bytes(payload)
            payload = b""
        return Call(f"task-{number}", number, self.learn(function), payload, path, TaskOptions(**options))

    def submit(self, function, *args, **options) -> str:
        call = self.make(function, *args, **options)
        self.host.submit([call])
        return call.task_id

    def turn(self, limit=0.2):
        pollables = list(self.host.pollables())
        if pollables != self._polled:
            self._poller, self._polled = zmq.Poller(), pollables
            for each in pollables:
                self._poller.register(each, zmq.POLLIN)
        now = time.monotonic()
        self._poller.poll(1000 * max(0.0, min(limit, self.host.next_deadline(now) - now)))
        facts = self.host.poll(time.monotonic())
        self.facts += facts
        return facts

    def until(self, condition, limit=30.0):
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, (self.facts[-5:], self.host.status())
            self.turn()
            self.note_pids()

    def note_pids(self):
        status = self.host.status()
        self.pids |= {*status["worker_pids"], *status["watched_pids"], status["engine_pid"]} - {0}

    def of(self, task_id, *kinds):
        return [fact for fact in self.facts if fact.task_id == task_id and isinstance(fact, kinds)]

    def end_of(self, task_id, limit=30.0):
        self.until(lambda: self.of(task_id, CallDone, CallLost), limit)
        (end,) = self.of(task_id, CallDone, CallLost)
        return end

    def run(self, function, *args, **options):
        return self.end_of(self.submit(function, *args, **options))

    def value(self, function, *args, **options):
        done = self.run(function, *args, **options)
        assert isinstance(done, CallDone), done
        assert done.outcome.ok, done.outcome.error
        block = bytearray(done.path.read_bytes()) if done.path else done.outcome.payload
        return serialize.unpack_value(block)

    def error(self, function, *args, **options):
        done = self.run(function, *args, **options)
        assert isinstance(done, CallDone), done
        assert not done.outcome.ok
        return done.outcome.error

    def started(self, task_id, limit=30.0):
        self.until(lambda: self.of(task_id, CallStarted, CallDone, CallLost), limit)
        (started,) = self.of(task_id, CallStarted)
        return started

    def events(self, task_id):
        """All events of a task, in order; their numbers must have no gap."""
        events = []
        for fact in self.of(task_id, CallOutput, CallDone):
            assert fact.first == len(events)
            events += fact.events
        return events

    def text(self, task_id, kind="stdout"):
        return "".join(event.data for event in self.events(task_id) if event.kind == kind)

    def stop(self):
        self.note_pids()
        self.host.stop(10.0)
