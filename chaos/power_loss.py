"""Cut the power of the hub service's disk at many places and look whether an acknowledged commit is gone.

``python -m chaos.power_loss --states 1500``. The store's own code runs over a file system that writes down
every write and sync; each state keeps everything up to the last sync of each file and any sectors of what was
written since. Every state is then opened with another SQLite, the standard library's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from chaos import report
from chaos.apsw_sqlite import Sqlite
from chaos.recorder import Disk, Journal, RecordingFileSystem
from funcx_lab.protocol.messages import Event, EventBatch, Outcome, ResultItem
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.auth.tokens import Tokens
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.store import opening
from funcx_lab_hub_service.store.database import BOOT_SHIFT, Database
from funcx_lab_hub_service.store.records import CODES
from funcx_lab_hub_service.tasks import Tasks

ME = Principal("me")
_FILE = "hub.db"
#: What acknowledged facts say: kind, id, value.
Fact = tuple[str, str, Any]


@dataclass(slots=True)
class Verdict:
    """What the states showed."""

    states: int = 0
    facts: int = 0
    commits: int = 0
    #: states in which something acknowledged was missing, and what was missing first
    lossy: list[str] = field(default_factory=list)
    #: states that are no sound database
    corrupt: list[str] = field(default_factory=list)


class Workload:
    """What a hub service writes, done by its own rules and store; acknowledged facts go to the journal.

    Parameters
    ----------
    directory : Path
        Of the database.
    journal : Journal
        Where the recorder writes, too.
    seed : int
        Chooses what is done.
    """

    def __init__(self, directory: Path, journal: Journal, seed: int) -> None:
        self._directory, self._journal = directory, journal
        self._chance = random.Random(f"workload {seed}")
        self._queued: list[str] = []
        self._sessions = 0

    async def live(self, rounds: int) -> None:
        """Open the store, do ``rounds`` things, several at a time, and close it."""
        database = Database(self._directory / _FILE)
        await database.start()
        try:
            self._acknowledge("boot", "boot", database.boot)
            await self._begin(database)
            for _ in range(rounds):
                await asyncio.gather(*(self._one() for _ in range(self._chance.choice((1, 1, 2, 5)))))
        finally:
            await database.close()

    def _acknowledge(self, kind: str, name: str, value: Any) -> None:
        self._journal.add("ack", _FILE, (kind, name, value))

    async def _begin(self, database: Database) -> None:
        self._endpoints, self._functions = Endpoints(database), Functions(database)
        self._endpoints.start()
        self._tokens = Tokens(database)
        self._tasks = Tasks(database, self._endpoints, self._functions, Feed())
        self._boot = database.boot
        self._box = f"box{self._boot}"
        await self._endpoints.register(ME, self._box)
        self._endpoint = self._endpoints.resolve(ME, self._box)
        self._acknowledge("endpoint", self._endpoint.endpoint_id, self._box)
        await self._register()
        self._queued.clear()

    async def _one(self) -> None:
        """Do one thing that is acknowledged."""
        action = self._chance.choices(
            (self._submit, self._run_some, self._cancel, self._register, self._token), (10, 8, 1, 1, 1)
        )[0]
        await action()

    async def _register(self) -> None:
        body = self._chance.randbytes(self._chance.choice((100, 3000)))
        self._function = await self._functions.register(ME, "f", body, "funcx-lab")
        self._acknowledge("function", self._function, body)

    async def _token(self) -> None:
        label = uuid.uuid4().hex
        await self._tokens.create("me", label=label)
        self._acknowledge("token", label, None)

    async def _submit(self) -> None:
        tasks = [
            NewTask(str(uuid.uuid4()), self._payload()) for _ in range(self._chance.choice((1, 1, 3, 20)))
        ]
        refused = await self._tasks.submit(ME, self._box, self._function, str(uuid.uuid4()), tasks)
        assert refused == []
        for task in tasks:
            self._acknowledge("task", task.task_id, task.payload)
            self._queued.append(task.task_id)

    async def _run_some(self) -> None:
        """Lease what is queued, report that it began and what it printed, and how it ended."""
        self._sessions += 1
        session = (self._boot << BOOT_SHIFT) + self._sessions
        tags = [session * 100 + place for place in range(self._chance.choice((1, 4, 16)))]
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tasks.facts.lease_queued(self._endpoint, session, tags, 1 << 20, done.set_result)
        items = (await done)[0]
        self._tasks.facts.store_started(
            self._endpoint, [(item.task_id, item.tag, f"run {item.tag}", 1.0, {}) for item in items]
        )
        results = [self._result(item.task_id, item.tag) for item in items]
        judged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tasks.facts.store_results(self._endpoint, results, judged.set_result)
        verdict = await judged
        for end in verdict.ended:
            self._acknowledge("outcome", end.item.task_id, end.item.payload)
            if end.item.task_id in self._queued:
                self._queued.remove(end.item.task_id)

    def _result(self, task_id: str, tag: int) -> ResultItem:
        events = EventBatch(task_id, f"run {tag}", 0, [Event(1.0, "stdout", {"text": "said"})])
        return ResultItem(task_id, tag, f"run {tag}", Outcome(True, payload=self._payload()), events)

    async def _cancel(self) -> None:
        if self._queued:
            task_id = self._queued.pop()
            if task_id in await self._tasks.cancel(ME, [task_id]):
                self._acknowledge("cancelled", task_id, None)

    def _payload(self) -> bytes:
        return self._chance.randbytes(self._chance.choice((10, 300, 3000, 8_000)))


def record(directory: Path, seed: int, lives: int, rounds: int, synchronous: str = "FULL") -> Journal:
    """Run the workload over the recorder and return what was written and acknowledged."""
    journal = Journal()
    name = f"recorder-{uuid.uuid4().hex}"
    file_system = RecordingFileSystem(name, journal)
    workload = Workload(directory, journal, seed)
    with mock.patch.object(opening, "sqlite3", Sqlite(name, synchronous)):
        for _ in range(lives):
            asyncio.run(workload.live(rounds))
    file_system.unregister()
    return journal


def examine(journal: Journal, states: int, seed: int, directory: Path) -> Verdict:
    """Cut the power ``states`` times and look at what is left each time."""
    chance, disk, facts = random.Random(f"cuts {seed}"), Disk(), dict[tuple[str, str], Any]()
    verdict = Verdict(states=states)
    verdict.commits = sum(entry[0] == "sync" and entry[1].endswith("-wal") for entry in journal.entries)
    cuts = sorted(chance.randrange(len(journal.entries)) for _ in range(states))
    for place, entry in enumerate(journal.entries):
        while cuts and cuts[0] <= place:
            cuts.pop(0)
            left = directory / "left"
            left.mkdir()
            disk.lose_power(left, chance)
            _look(verdict, f"after entry {place}", left / _FILE, facts)
            shutil.rmtree(left)
        if entry[0] == "ack":
            kind, name, value = entry[2]
            facts[kind, name] = value
        else:
            disk.follow(entry)
    verdict.facts = len(facts)
    return verdict


def _look(verdict: Verdict, where: str, path: Path, facts: dict[tuple[str, str], Any]) -> None:
    try:
        connection = sqlite3.connect(path)
        try:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                verdict.corrupt.append(f"{where}: {said}")
                return
            missing = next(_missing(connection, facts), None) if facts else None
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        missing = f"{error}" if facts else None
    if missing is not None:
        verdict.lossy.append(f"{where}: {missing}")


def _missing(connection: sqlite3.Connection, facts: dict[tuple[str, str], Any]) -> Iterator[str]:
    """Yield every acknowledged fact that the database does not have."""
    kept: dict[str, dict[str, Any]] = {
        "boot": dict(connection.execute("SELECT 'boot', value FROM meta WHERE key = 'boot'")),
        "endpoint": dict(connection.execute("SELECT endpoint_id, name FROM endpoints")),
        "function": dict(connection.execute("SELECT function_id, body FROM functions")),
        "token": dict(connection.execute("SELECT label, NULL FROM tokens")),
        "task": dict(connection.execute("SELECT task_id, payload FROM tasks t JOIN bodies ON task = t.id")),
        "outcome": dict(
            connection.execute(
                "SELECT task_id, payload FROM tasks t JOIN results ON task = t.id WHERE state = ?",
                (CODES[TaskState.SUCCESS],),
            )
        ),
        "cancelled": dict(
            connection.execute(
                "SELECT task_id, NULL FROM tasks WHERE state = ?", (CODES[TaskState.CANCELLED],)
            )
        ),
    }
    for (kind, name), value in facts.items():
        found = kept[kind]
        if name not in found or (found[name] < value if kind == "boot" else found[name] != value):
            yield f"{kind} {name} of {len(facts)} acknowledged facts"


def cut(states: int, seed: int, synchronous: str = "FULL", lives: int = 3, rounds: int = 100) -> Verdict:
    """Record one workload in a temporary directory and cut the power ``states`` times."""
    # What a sync does is the recorder's to say: memory is as good a disk as any, and faster.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="power-loss-", dir=memory) as name:
        directory = Path(name)
        journal = record(directory, seed, lives, rounds, synchronous)
        return examine(journal, states, seed, directory)


def section(verdicts: dict[str, Verdict], seed: int) -> str:
    """Return the section of docs/reliability.md."""
    rows = [
        f"| {name} | {verdict.states} | {verdict.commits} | {verdict.facts} | {len(verdict.lossy)} |"
        f" {len(verdict.corrupt)} |"
        for name, verdict in verdicts.items()
    ]
    command = f"python -m chaos.power_loss --states {verdicts['FULL'].states} --seed {seed}"
    return f"""`{command}`: the store's own code over a file system
that writes down every write and sync. A state is what a power loss could leave: all that was synced, and any
512-byte sectors of what was not. NORMAL is not what the service uses; it shows that the test can see a loss.

| synchronous | states | syncs of the log | acknowledged facts | states with a loss | damaged |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}"""


def main() -> None:
    """Read the command line, cut, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=report.PAGE)
    options = parser.parse_args()
    verdicts = {name: cut(options.states, options.seed, name) for name in ("FULL", "NORMAL")}
    report.write(options.output, "Power loss", section(verdicts, options.seed))
    careful = verdicts["FULL"]
    if careful.lossy or careful.corrupt:
        raise SystemExit("\n".join(["LOST:", *careful.lossy[:20], *careful.corrupt[:20]]))


if __name__ == "__main__":
    main()
