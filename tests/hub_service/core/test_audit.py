"""The audit log: who did what, and whether somebody has changed it since."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.audit import Audit, entries, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def log(path: Path) -> Audit:
    return Audit(path, clock=lambda: 1000.0)


def written(path: Path) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in entry if key not in ("time", "hash")} for entry in entries(path)]


def test_what_is_noted_stands_in_the_file_in_order(log: Audit, path: Path) -> None:
    log.note("token-created", user="ada", label="laptop")
    log.note("endpoint-deleted", user="ada", name="cluster")
    assert not path.exists()
    log.flush()
    log.note("start", version="1")
    log.flush()
    log.flush()
    assert written(path) == [
        {"event": "token-created", "user": "ada", "label": "laptop"},
        {"event": "endpoint-deleted", "user": "ada", "name": "cluster"},
        {"event": "start", "version": "1"},
    ]
    assert verify(path) == (3, "")
    assert path.stat().st_mode & 0o777 == 0o600


def test_tasks_of_one_function_in_a_second_share_a_line(log: Audit, path: Path) -> None:
    for name in ("a", "b"):
        log.submitted("ada", "e", "f", [NewTask(name), NewTask(name * 2)], "hash")
    log.submitted("bob", "e", "f", [NewTask("c")], "hash")
    log.submitted("bob", "e", "f", [], "hash")
    log.cancelled("ada", ["a", "b"])
    log.cancelled("ada", [])
    log.flush()
    same = {"event": "submit", "endpoint": "e", "function": "f", "sha256": "hash"}
    found = written(path)
    assert {"user": "ada", "count": 4, "first": "a", **same} in found
    assert {"user": "bob", "count": 1, "first": "c", **same} in found
    assert {"event": "cancel", "user": "ada", "count": 2, "first": "a"} in found
    assert len(found) == 3


def test_a_flood_of_strangers_is_few_lines(log: Audit, path: Path) -> None:
    for number in range(10_000):
        log.denied("10.0.0.1", "NOT_AUTHENTICATED", f"GET /{number}")
        log.denied(f"10.1.{number // 256}.{number % 256}", "NOT_AUTHENTICATED", "GET /")
    log.flush()
    found = written(path)
    assert len(found) <= 101
    assert sum(entry["count"] for entry in found) == 20_000
    first = next(entry for entry in found if entry["address"] == "10.0.0.1")
    assert (first["count"], first["last"]) == (10_000, "GET /9999")


@pytest.mark.parametrize(
    "text", ["a\r\nb", '{"event":"start"}\n', "\x1b[2J", "\u2028", "\ud800", "x" * 10_000]
)
def test_no_text_makes_a_second_line(log: Audit, path: Path, text: str) -> None:
    log.note("denied", what=text)
    log.flush()
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert len(line) < 2000
    assert json.loads(line)["what"] == text[:200]
    assert verify(path) == (1, "")


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (lambda lines: [*lines[:1], lines[1].replace(b"ada", b"eve"), *lines[2:]], 1),
        (lambda lines: [*lines[:1], *lines[2:]], 1),
        (lambda lines: lines[1:], 0),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 0),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 2),
        (lambda lines: [*lines, b'{"event":"token-created"}\n'], 4),
        (lambda lines: [*lines[:3], lines[3][:-10]], 3),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], 2),
    ],
    ids=["changed", "removed", "first removed", "swapped", "twice", "put in", "cut", "empty line"],
)
def test_a_change_is_found(log: Audit, path: Path, change: Any, good: int) -> None:
    for number in range(4):
        log.note("event", user="ada", number=number)
    log.flush()
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    count, fault = verify(path)
    assert count == good
    assert fault


def test_a_line_that_a_crash_cut_off_is_written_over(log: Audit, path: Path) -> None:
    log.note("one")
    log.note("two")
    log.flush()
    path.write_bytes(path.read_bytes()[:-20])
    log.note("three")
    log.flush()
    assert [entry["event"] for entry in entries(path)] == ["one", "three"]
    assert verify(path) == (2, "")


def test_two_programs_write_one_chain(path: Path) -> None:
    def write(log: Audit, name: str) -> None:
        for number in range(50):
            log.note(name, number=number)
            log.flush()

    threads = [threading.Thread(target=write, args=(Audit(path), name)) for name in ("server", "command")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(path) == (100, "")


def test_what_cannot_be_written_waits(log: Audit, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    log.note("one")
    log.flush()
    assert "cannot be written" in caplog.text
    path.rmdir()
    log.note("two")
    log.flush()
    assert [entry["event"] for entry in entries(path)] == ["one", "two"]


def test_it_does_not_gather_without_end(log: Audit, path: Path) -> None:
    for number in range(10_100):
        log.note("event", number=number)
    log.flush()
    found = written(path)
    assert len(found) == 10_001
    assert found[-1] == {"event": "dropped", "count": 100}


def test_it_does_not_follow_a_link(log: Audit, path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    path.symlink_to(tmp_path / "other")
    log.note("one")
    log.flush()
    assert (tmp_path / "other").read_text() == "mine"
