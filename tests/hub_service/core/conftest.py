from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import zmq

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    FRAME_LIMIT,
    Hello,
    Inventory,
    Outcome,
    Reconciled,
    ResultItem,
    Results,
    TaskItem,
    Welcome,
    agent_codec,
    forwarder_codec,
)
from funcx_lab.protocol.messages import (
    Tasks as TasksMessage,
)
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.admission import Admission
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.forwarder.forwarder import Forwarder
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.store.database import Database
from funcx_lab_hub_service.store.outcomes import Verdict
from funcx_lab_hub_service.tasks import Tasks

T = TypeVar("T")
ME = Principal("me")


def new_id() -> str:
    return str(uuid.uuid4())


class Core:
    """Store and rules on one directory, with an endpoint ``box`` and a function."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float] = time.time,
        admission: Admission | None = None,
        **options: Any,
    ) -> None:
        self.directory = directory
        self.clock, self.admission = clock, admission
        self.database = Database(directory / "hub.db", **options)
        self.endpoint_id = self.function_id = ""
        self.group_id = new_id()

    async def open(self) -> Core:
        await self.database.start()
        self.wire()
        self.endpoint_id, self.enrolment_token = await self.endpoints.register(ME, "box")
        self.function_id = await self.functions.register(ME, "f", b"body", "funcx-lab")
        return self

    def wire(self) -> None:
        """Build the rules on an open store."""
        self.feed = Feed()
        self.endpoints = Endpoints(self.database)
        self.endpoints.start()
        self.functions = Functions(self.database)
        self.tasks = Tasks(
            *(self.database, self.endpoints, self.functions, self.feed),
            admission=self.admission,
            clock=self.clock,
        )
        mine = self.endpoints.list(ME), self.functions.list(ME)
        if all(mine):
            self.endpoint_id, self.function_id = mine[0][0].endpoint_id, mine[1][0].function_id

    async def submit(self, *tasks: NewTask, **options: Any) -> list[Any]:
        return await self.tasks.submit(ME, "box", self.function_id, self.group_id, tasks, **options)

    async def submit_one(self, payload: bytes = b"in", **options: Any) -> str:
        task = NewTask(new_id(), payload)
        assert await self.submit(task, **options) == []
        return task.task_id

    async def end(self, task_id: str, execution: str = "run", **outcome: Any) -> Verdict:
        """Let the endpoint report a success and return what became of it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result = ResultItem(task_id, 0, execution, Outcome(True, b"out", **outcome))
        self.tasks.facts.store_results(self.endpoints.get(self.endpoint_id), [result], future.set_result)
        return await future

    def forwarder(self, **options: Any) -> Forwarder:
        return Forwarder(
            self.tasks,
            self.endpoints,
            self.functions,
            boot=self.database.boot,
            key_file=self.directory / "forwarder.key",
            **options,
        )


@contextlib.asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[Core]:
    core = await Core(directory, **options).open()
    try:
        yield core
    finally:
        await core.database.close()


@contextlib.asynccontextmanager
async def forwarding(directory: Path, **options: Any) -> AsyncIterator[tuple[Core, Forwarder]]:
    async with opened(directory) as core:
        forwarder = core.forwarder(**options)
        await forwarder.start()
        try:
            yield core, forwarder
        finally:
            await forwarder.stop()


class FakeAgent:
    """A DEALER with CURVE that says what a test wants it to say."""

    def __init__(self, address: str, server_key: str, keys: tuple[bytes, bytes] | None = None) -> None:
        self.public_key, self.secret_key = keys or zmq.curve_keypair()
        self._context: zmq.Context[Any] = zmq.Context()
        self.address, self.server_key = address, server_key
        self.session = 0
        self._kept: list[Any] = []

    def dial(self) -> FakeAgent:
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.curve_serverkey = self.server_key.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = self.public_key, self.secret_key
        self.socket.linger = 0
        self.socket.maxmsgsize = FRAME_LIMIT
        self.socket.connect(self.address)
        return self

    def close(self) -> None:
        self._context.destroy(linger=0)

    def send(self, message: Any) -> None:
        self.socket.send(agent_codec.encode(message))

    async def receive(self, kind: type[T], timeout: float = 5) -> T:
        """Return the next message of that kind; others are kept for later calls."""
        for place, message in enumerate(self._kept):
            if isinstance(message, kind):
                return self._kept.pop(place)
        while True:
            data = await asyncio.to_thread(self._poll, timeout)
            assert data is not None, f"no {kind.__name__} within {timeout} s"
            message = forwarder_codec.decode(data)
            if isinstance(message, kind):
                return message
            self._kept.append(message)

    async def silence(self, timeout: float) -> bool:
        return not self._kept and await asyncio.to_thread(self._poll, timeout) is None

    def _poll(self, timeout: float) -> bytes | None:
        if not self.socket.poll(int(timeout * 1000)):
            return None
        return bytes(self.socket.recv())

    async def hello(self, instance: str = "one", **options: Any) -> Welcome:
        nonce = new_id()
        self.send(Hello(PROTOCOL_VERSION, nonce, instance, "spool", **options))
        welcome = await self.receive(Welcome)
        assert welcome.nonce == nonce
        self.session = welcome.session
        return welcome

    async def join(self, *held: tuple[str, int], instance: str = "one") -> Reconciled:
        await self.hello(instance)
        self.send(Inventory(self.session, list(held)))
        return await self.receive(Reconciled)

    async def tasks(self) -> list[TaskItem]:
        return (await self.receive(TasksMessage)).tasks

    def answer(self, task: TaskItem, payload: bytes = b"out", execution: str | None = None) -> None:
        result = ResultItem(task.task_id, task.tag, execution or new_id(), Outcome(True, payload))
        self.send(Results(self.session, [result]))


@contextlib.asynccontextmanager
async def enrolled(core: Core, forwarder: Forwarder) -> AsyncIterator[FakeAgent]:
    """An agent of the endpoint ``box``, enrolled and dialling."""
    agent = FakeAgent(forwarder.address, forwarder.public_key)
    _, token = await core.endpoints.register(ME, "box")
    await core.endpoints.enrol(core.endpoint_id, token, agent.public_key.decode())
    try:
        yield agent.dial()
    finally:
        agent.close()


async def until(condition: Callable[[], Any], deadline: float = 30) -> None:
    """Wait for what a callback on this loop will bring about."""
    end = asyncio.get_running_loop().time() + deadline
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline} s"
        await asyncio.sleep(0.005)


@pytest.fixture
def tools(tmp_path: Path) -> SimpleNamespace:
    """What the tests of this folder share: open a core, a forwarder or an agent, and run it all."""
    return SimpleNamespace(
        opened=functools.partial(opened, tmp_path),
        core=functools.partial(Core, tmp_path),
        forwarding=functools.partial(forwarding, tmp_path),
        enrolled=enrolled,
        agent=FakeAgent,
        until=until,
        new_id=new_id,
        task=lambda task_id="", payload=b"": NewTask(task_id or new_id(), payload),
        run=lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 60)),
    )
