"""What is watched and how it is told: boards, sources, columns, faces without widgets."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import funcx_lab
from funcx_lab.errors import ServiceUnreachable, TaskNotFound, UsageError
from funcx_lab_magics.watch import show
from funcx_lab_magics.watch.board import POINTS, Board, Row
from funcx_lab_magics.watch.columns import BARS, lanes, progress, stream
from funcx_lab_magics.watch.faces import DisplayFace, LineFace
from funcx_lab_magics.watch.live import Watch
from funcx_lab_magics.watch.sources import FutureSource, Member, RecordSource
from funcx_lab_magics.watch.targets import source_of
from funcx_lab_magics.watch.words import as_html, lines, one_line

TIMEOUT_S = 60.0


def record(task_id: str, state: str, **facts: Any) -> dict[str, Any]:
    return {"task_id": task_id, "state": state, "endpoint_name": "here", "task_group_id": "g", **facts}


def board_of(*states: str) -> Board:
    board = Board()
    for number, state in enumerate(states):
        board.row(f"t{number}").update(record(f"t{number}", state, received=1.0, started=2.0, ended=5.0))
    board.remember()
    return board


class Service:
    """Answers the service's list of tasks; pages have two records."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = list(records)
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.transport = SimpleNamespace(json=self.json)
        self.stream = SimpleNamespace(cancel=self.cancel)

    def json(self, method: str, path: str, *, query: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("GET", "/v3/tasks")
        self.asked.append(query)
        fitting = [
            each
            for each in self.records
            if query.get("group") in (None, each["task_group_id"])
            and ("state" not in query or each["state"] in query["state"].split(","))
        ]
        begin = query.get("before") or 0
        size = min(2, query["limit"])
        more = begin + size if len(fitting) > begin + size else None
        return {"tasks": fitting[begin : begin + size], "next": more}

    def record(self, task_id: str) -> dict[str, Any]:
        return next(each for each in self.records if each["task_id"] == task_id)

    def cancel(self, task_ids: list[str]) -> frozenset[str]:
        self.cancelled += task_ids
        return frozenset(task_ids)


class RecordingFace:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[dict[str, int], str]] = []
        self.is_over = threading.Event()
        self.seen = threading.Event()

    def show(self, board: Board, title: str, *, is_over: bool) -> None:
        self.shown.append((dict(board.counts()), board.note))
        self.seen.set()
        if is_over:
            self.is_over.set()


# --- boards and columns -----------------------------------------------------------------------------


def test_a_board_tells_how_many_are_where() -> None:
    board = board_of("running", "success", "success", "failed")
    assert one_line(board, "fit").startswith("fit: 1 running · 2 success · 1 failed")
    assert lines(board, "fit").splitlines()[1:] == ["  ▶ 1 running", "  ✔ 2 success", "  ✖ 1 failed"]
    assert "3/4 ended" in lines(board, "fit")


def test_names_are_text_in_html() -> None:
    board = board_of("running")
    board.rows["t0"].endpoint = "<img src=x onerror=alert(1)>"
    board.note = "<b>"
    page = as_html(board, "<script>1</script>", details=True)
    assert "<script>" not in page
    assert "<img" not in page
    assert "<b>" not in page


def test_failed_items_of_a_task_that_ended_well_count_as_failed() -> None:
    board = Board()
    board.rows["t"] = Row("t", state="success", items=5, failed_items=2)
    assert board.counts() == {"success": 3, "failed": 2}


def test_an_older_record_does_not_take_an_end_back() -> None:
    row = Row("t")
    row.end("success", 9.0)
    row.update(record("t", "running", ended=None))
    assert (row.state, row.ended) == ("success", 9.0)


def test_the_history_stays_short_and_keeps_its_last_point() -> None:
    board = board_of("running")
    for _ in range(3 * POINTS):
        board.remember()
    assert POINTS // 2 <= len(board.times) <= POINTS
    assert board.times == sorted(board.times)
    assert len(progress(board)["running"]) == len(board.times)


def test_tasks_at_the_same_time_have_lanes_of_their_own() -> None:
    rows = [Row(f"t{begin}", started=begin) for begin in (0.0, 1.0, 2.0, 3.0)]
    assert lanes(rows, [2.5, 1.5, 9.0, 4.0]) == [0, 1, 1, 0]


def test_the_task_stream_is_bounded_and_its_columns_are_equally_long() -> None:
    board = board_of(*["success"] * (BARS + 7), "received")
    board.rows[f"t{BARS + 7}"].started = 0.0
    assert {len(column) for column in stream(board).values()} == {BARS}


# --- sources ------------------------------------------------------------------------------------------


def test_futures_of_other_executors_can_be_watched() -> None:
    go = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(go.wait, TIMEOUT_S)
        failing = pool.submit(int, "x")
        source = source_of([waiting, failing])
        board = Board()
        source.look(board)
        assert board.counts() == {"received": 2}
        go.set()
        concurrent.futures.wait([waiting, failing], TIMEOUT_S)
        source.look(board)
    assert board.counts() == {"success": 1, "failed": 1}
    assert board.is_complete


def test_what_futures_wait_for_is_asked_once_for_all_of_a_group() -> None:
    service = Service(*[record(f"t{n}", "waiting-for-nodes", label=f"nap {n}") for n in range(6)])
    members = [Member(f"t{n}", concurrent.futures.Future(), service) for n in range(6)]  # type: ignore[arg-type]
    board = Board()
    FutureSource(members, "six").look(board)
    assert board.counts() == {"waiting-for-nodes": 6}
    assert board.rows["t5"].label == "nap 5"
    assert all(query["group"] == "g" for query in service.asked)


def test_a_record_does_not_end_a_future_before_the_stream_does() -> None:
    service = Service(record("t0", "success", ended=3.0))
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    source = FutureSource([Member("t0", future, service)], "one", ["g"])  # type: ignore[arg-type]
    board = Board()
    source.look(board)
    assert not board.is_complete
    future.set_result(1)
    source.look(board)
    assert board.counts() == {"success": 1}


def test_a_group_is_read_whole_and_its_new_tasks_are_seen() -> None:
    service = Service(
        *[record(f"t{n}", "running") for n in range(5)], record("other", "running", task_group_id="h")
    )
    source = RecordSource(service, lambda: [{"group": "g"}], "group", has_end=True)  # type: ignore[arg-type]
    board = Board()
    source.look(board)
    assert board.counts() == {"running": 5}
    service.records[0]["state"] = "success"
    service.records.insert(0, record("new", "received"))
    source.look(board)
    assert board.counts() == {"received": 1, "running": 4, "success": 1}
    assert source.cancel(board) == 5
    assert sorted(service.cancelled) == ["new", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize("nothing", [[], 7, b"id", {"a": 1}, [object()]])
def test_what_cannot_be_watched_is_refused_in_words(nothing: object) -> None:
    with pytest.raises(UsageError, match=r"watch\(\)"):
        source_of(nothing)


def test_either_tasks_or_an_endpoint_is_watched() -> None:
    for arguments in ({}, {"tasks": [], "endpoint": "local"}):
        with pytest.raises(UsageError, match="needs what to watch"):
            funcx_lab.watch(**arguments)  # type: ignore[arg-type]


# --- watches ------------------------------------------------------------------------------------------


class Script:
    """A source whose looks are told."""

    title, has_end = "script", True

    def __init__(self, *looks: Callable[[Board], None]) -> None:
        self.looks = list(looks)
        self.wake: Callable[[], None] = lambda: None
        self.is_cancelled = threading.Event()

    def begin(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    def look(self, board: Board) -> None:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        look(board)

    def cancel(self, board: Board) -> int:
        self.is_cancelled.set()
        return len(board.live)


def put(state: str) -> Callable[[Board], None]:
    def look(board: Board) -> None:
        board.row("t").state = state

    return look


def away(board: Board) -> None:
    raise ServiceUnreachable("The hub service does not answer.\nTry later.")


def test_a_watch_ends_with_its_tasks() -> None:
    face = RecordingFace()
    watch = Watch(Script(put("running"), put("success")))
    watch.add(face)
    watch.start()
    assert watch.wait(TIMEOUT_S)
    assert face.is_over.wait(TIMEOUT_S)
    assert [counts for counts, _ in face.shown] == [{"running": 1}, {"success": 1}]


def test_a_watch_outlives_a_service_that_is_away() -> None:
    face = RecordingFace()
    watch = Watch(Script(put("running"), away, put("success")))
    watch.add(face)
    watch.start()
    assert watch.wait(TIMEOUT_S)
    assert ({"running": 1}, "The hub service does not answer.") in face.shown
    assert face.shown[-1] == ({"success": 1}, "")


def test_a_watch_that_sleeps_has_no_thread_and_goes_on_when_woken() -> None:
    face = RecordingFace()
    watch = Watch(Script(put("running")))
    watch.add(face)
    watch.start()
    assert face.seen.wait(TIMEOUT_S)
    thread = watch._thread
    assert thread is not None
    watch.sleep()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert not watch.is_over
    face.seen.clear()
    watch.wake_up()
    assert face.seen.wait(TIMEOUT_S)
    watch.close()
    assert face.is_over.wait(TIMEOUT_S)


def test_a_button_cancels_in_the_thread_of_the_watch() -> None:
    source = Script(put("running"))
    watch = Watch(source)
    watch.start()
    watch.request_cancel()
    assert source.is_cancelled.wait(TIMEOUT_S)
    watch.close()


def test_a_task_that_does_not_exist_is_an_error_at_once() -> None:
    def missing(board: Board) -> None:
        raise TaskNotFound

    with pytest.raises(TaskNotFound):
        Watch(Script(missing)).look_first()


def test_the_clock_alone_changes_no_display() -> None:
    published: list[dict[str, Any]] = []
    face = DisplayFace(SimpleNamespace(publish=lambda **message: published.append(message)), "fit")
    board = board_of("running")
    for is_over in (False, False, True):
        face.show(board, "fit", is_over=is_over)
        board.begun -= 60
    assert [message["update"] for message in published] == [False, True]
    assert len({message["transient"]["display_id"] for message in published}) == 1


def test_a_script_gets_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "_shell", lambda: None)
    watch = Watch(Script(put("running"), put("success")))
    watch.add(LineFace())
    watch.run()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("script: 1 running")
    assert said[-1] == "  ✔ 1 success"
