"""The agent's object store against HTTP: fetched whole or not at all, once, within its limit."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.config import Service
from funcx_lab.errors import ServiceUnreachable
from funcx_lab.protocol.messages import ObjectRef, Outcome
from funcx_lab.transport import Transport
from funcx_lab_endpoint import objects as objects_module
from funcx_lab_endpoint.engine.contract import CallDone
from funcx_lab_endpoint.instructions import Fetch, Kept, Upload
from funcx_lab_endpoint.objects import ObjectStore
from funcx_lab_endpoint.result_files import KEPT_DAYS, ResultFiles

Eventually = Callable[..., Any]


def reference(block: bytes) -> ObjectRef:
    return ObjectRef(hashlib.sha256(block).hexdigest(), len(block))


class Bench:
    def __init__(self, hub: Any, directory: Path, limit: int, eventually: Eventually) -> None:
        self.hub = hub
        self.directory = directory
        self.away = 0
        self.wakes = 0
        self._eventually = eventually
        self._transport = Transport(Service(hub.url, "agent-token-1"), attempts=1)
        self.store = ObjectStore(directory, limit, self.transport, self.wake)

    def wake(self) -> None:
        self.wakes += 1

    def transport(self) -> Transport:
        if self.away:
            self.away -= 1
            raise ServiceUnreachable("away")
        return self._transport

    def put(self, block: bytes) -> ObjectRef:
        self.hub.objects[reference(block).sha256] = block
        return reference(block)

    def ends(self, count: int = 1) -> list[Any]:
        facts: list[Any] = []
        self._eventually(lambda: facts.extend(self.store.facts()) or len(facts) >= count)
        return facts

    def uploaded(self) -> Any:
        """Return the end of an upload, which was safe before."""
        kept, end = self.ends(2)
        assert isinstance(kept, Kept)
        return end

    def fetch(self, ref: ObjectRef, task_id: str = "a") -> Any:
        self.store.fetch(Fetch(task_id, 1, ref))
        return self.ends()[0]

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def close(self) -> None:
        self.store.stop()
        self._transport.close()


@pytest.fixture
def bench(hub: Any, tmp_path: Path, eventually: Eventually) -> Iterator[Bench]:
    made = Bench(hub, tmp_path / "objects", 1000, eventually)
    yield made
    made.close()


def test_an_object_is_fetched_whole(bench: Bench) -> None:
    block = os.urandom(3_000_000)
    fact = bench.fetch(bench.put(block))
    assert (fact.task_id, fact.tag, fact.error) == ("a", 1, None)
    assert fact.path.read_bytes() == block
    assert fact.path.stat().st_mode & 0o777 == 0o600
    assert bench.wakes == 1


def test_many_tasks_with_one_object_fetch_it_once(bench: Bench) -> None:
    ref = bench.put(b"shared")
    for number in range(8):
        bench.store.fetch(Fetch(f"t{number}", 1, ref))
    assert len({fact.path for fact in bench.ends(8)}) == 1
    assert sum(method == "GET" for method, _, _ in bench.hub.requests) == 1


def test_a_damaged_object_is_never_used(bench: Bench) -> None:
    ref = reference(b"right")
    bench.hub.objects[ref.sha256] = b"wrong"
    fact = bench.fetch(ref)
    assert (fact.path, fact.error.code) == (None, "PAYLOAD_HASH_MISMATCH")
    assert bench.files() == set()


@pytest.mark.parametrize("name", ["ab" * 32, "../../etc/passwd", "AB" * 32, ""])
def test_an_object_that_is_not_there_is_told(bench: Bench, name: str) -> None:
    assert bench.fetch(ObjectRef(name, 5)).error.code == "OBJECT_NOT_FOUND"


def test_a_service_that_is_away_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_module, "_FIRST_PAUSE_S", 0.01)
    bench.away = 3
    assert bench.fetch(bench.put(b"late")).error is None


def test_the_least_recently_used_go_first(bench: Bench) -> None:
    refs = [bench.put(bytes([number]) * 400) for number in range(3)]
    for number, ref in enumerate(refs[:2]):
        path = bench.fetch(ref, f"t{number}").path
        os.utime(path, (number, number))
        bench.store.release(f"t{number}")
    (bench.directory / "1.7.result").write_bytes(bytes(5000))  # an engine's file is no object
    bench.fetch(refs[2], "t2")
    assert bench.files() == {refs[1].sha256, refs[2].sha256, "1.7.result"}


def test_objects_that_tasks_wait_for_stay(bench: Bench) -> None:
    refs = [bench.put(bytes([number]) * 900) for number in range(3)]
    for number, ref in enumerate(refs):
        bench.fetch(ref, f"t{number}")
    assert bench.files() == {ref.sha256 for ref in refs}


def test_a_cancelled_download_is_not_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.store, "_pool", _Later())
    bench.store.fetch(Fetch("a", 1, bench.put(b"x")))
    bench.store.release("a")
    bench.store._pool.run()  # type: ignore[attr-defined]  # the pool of this test
    assert list(bench.store.facts()) == []
    assert bench.hub.requests == []


class _Later:
    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def submit(self, *job: Any) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        for function, *arguments in self.jobs:
            function(*arguments)

    def shutdown(self, **_: Any) -> None:
        pass


def test_a_result_file_is_stored(bench: Bench, tmp_path: Path) -> None:
    block = os.urandom(2_500_000)
    path = tmp_path / "result"
    path.write_bytes(block)
    bench.store.upload(Upload("a", "x1", path, Outcome(ok=True)))
    fact = bench.uploaded()
    assert (fact.reference, fact.error) == (reference(block), None)
    assert bench.hub.objects == {fact.reference.sha256: block}
    assert path.exists()  # until the outcome is acknowledged


def test_a_result_that_is_there_already_is_not_sent_again(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"same")
    bench.put(b"same")
    bench.store.upload(Upload("a", "x1", path, Outcome(ok=True)))
    assert bench.uploaded().reference == reference(b"same")
    assert [method for method, _, _ in bench.hub.requests] == ["HEAD"]


def test_a_result_that_is_refused_is_kept_and_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = (413, b'{"code": "TASK_PAYLOAD_TOO_LARGE", "message": "over 1 GB"}')
    answer = bench.hub._object
    monkeypatch.setattr(
        bench.hub, "_object", lambda method, *rest: refusal if method == "PUT" else answer(method, *rest)
    )
    path = tmp_path / "result"
    path.write_bytes(b"huge")
    bench.store.upload(Upload("a", "x1", path, Outcome(ok=True)))
    fact = bench.uploaded()
    assert fact.error.code == "TASK_PAYLOAD_TOO_LARGE"
    assert str(path) in fact.error.message
    assert path.exists()


def test_a_missing_result_file_fails_the_task(bench: Bench, tmp_path: Path) -> None:
    bench.store.upload(Upload("a", "x1", tmp_path / "gone", Outcome(ok=True)))
    assert bench.ends()[0].error.code == "WORKER_LOST"


def test_parts_of_an_earlier_life_are_removed(hub: Any, tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / ".part-abc").write_bytes(b"half")
    bench = Bench(hub, tmp_path, 1000, eventually)
    assert bench.files() == set()
    bench.close()


def test_a_mistake_of_ours_fails_the_task_instead_of_holding_it_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(bench.store, "_bring", fail)
    assert "a mistake" in bench.fetch(bench.put(b"x")).error.message


def test_a_result_is_taken_out_of_the_engine_s_directory(tmp_path: Path) -> None:
    path = tmp_path / "x.result"
    path.write_bytes(b"large")
    done = CallDone("a", 1, "x1", Outcome(ok=True), 0, [], path)
    fact = ResultFiles(tmp_path / "results").take(done)
    assert isinstance(fact, CallDone)
    assert fact.path == tmp_path / "results" / "x.result"
    assert fact.path.read_bytes() == b"large"
    assert not path.exists()


def test_a_result_that_nobody_wanted_goes_after_a_week(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    directory.mkdir()
    for name in ("refused", "waiting", "young"):
        (directory / name).write_bytes(b"large")
    week_ago = time.time() - KEPT_DAYS * 86400 - 1
    for name in ("refused", "waiting"):
        os.utime(directory / name, (week_ago, week_ago))
    files = ResultFiles(directory, [directory / "waiting"])
    (tmp_path / "new").write_bytes(b"large")
    files.take(CallDone("a", 1, "x1", Outcome(ok=True), 0, [], tmp_path / "new"))
    assert {path.name for path in directory.iterdir()} == {"waiting", "young", "new"}
