"""What a call prints arrives whole, in order and with the right call."""

import ctypes
import os
import subprocess
import sys
import time

from funcx_lab_endpoint.engine.contract import CallOutput


def both_streams():
    for i in range(5):
        print("out", i)
        print("err", i, file=sys.stderr)


def test_streams_keep_their_order(shared):
    task_id = shared.submit(both_streams)
    shared.end_of(task_id)
    told = [(event.kind, event.data) for event in shared.events(task_id)]
    assert told == [pair for i in range(5) for pair in (("stdout", f"out {i}\n"), ("stderr", f"err {i}\n"))]


def below_python():
    os.write(1, b"from write\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run(["echo", "from a child"], check=True)


def test_output_of_c_and_child_processes_arrives(shared):
    task_id = shared.submit(below_python)
    shared.end_of(task_id)
    assert sorted(shared.text(task_id).splitlines()) == ["from C", "from a child", "from write"]


def test_output_arrives_while_the_call_runs(shared):
    def slow():
        print("first")
        time.sleep(0.6)

    task_id = shared.submit(slow)
    shared.until(lambda: shared.of(task_id, CallOutput), limit=60)
    assert shared.text(task_id) == "first\n"
    assert not shared.end_of(task_id).events


def test_output_belongs_to_its_call(shared):
    calls = [shared.make(print, f"line {i}") for i in range(50)]
    shared.host.submit(calls)
    for i, call in enumerate(calls):
        shared.end_of(call.task_id)
        assert shared.text(call.task_id) == f"line {i}\n"


def test_unicode_split_across_writes(shared):
    def split():
        for byte in "h\u00e9llo \u20ac \U0001f600".encode():
            os.write(1, bytes([byte]))
            time.sleep(0.012)

    task_id = shared.submit(split)
    shared.end_of(task_id)
    assert shared.text(task_id) == "h\u00e9llo \u20ac \U0001f600"


def test_half_a_character_does_not_reach_the_next_call(shared):
    shared.run(lambda: os.write(1, "\u20ac".encode()[:2]))
    task_id = shared.submit(print, "clean")
    shared.end_of(task_id)
    assert shared.text(task_id) == "clean\n"


def flood():
    block = "x" * 999_999 + "\n"
    print("begin")
    for _ in range(100):
        sys.stdout.write(block)
    print("end")


def test_100_mb_of_prints_keep_head_and_tail(shared):
    task_id = shared.submit(flood)
    shared.end_of(task_id)
    text, note = shared.text(task_id), shared.text(task_id, "stderr")
    assert text.startswith("begin\nxxx")
    assert text.endswith("xxx\nend\n")
    assert 2 * 1024 * 1024 <= len(text) <= 2 * 1024 * 1024 + 70_000
    dropped = int(note.split()[1].replace(",", ""))
    assert dropped + len(text) == 100_000_010


def test_print_without_newline_arrives(shared):
    task_id = shared.submit(lambda: print("no newline", end=""))
    shared.end_of(task_id)
    assert shared.text(task_id) == "no newline"


def show_all_kinds():
    display({"application/json": {"values": ["x" * 1000] * 20_000}}, raw=True)  # noqa: F821  # the builtin of workers
    display({"text/plain": "\u20ac" * 6_000_000}, raw=True)  # noqa: F821  # the same
    print("\udcff" * 3_000_000)


def test_whatever_a_call_says_fits_into_a_frame(shared):
    task_id = shared.submit(show_all_kinds)
    shared.end_of(task_id)
    assert "2 displays beyond" in shared.text(task_id, "stderr")


def show_too_much():
    for i in range(30):
        display({"text/html": str(i) + "x" * 1_000_000}, raw=True)  # noqa: F821  # the builtin of workers


def test_displays_are_capped_and_the_drop_is_told(shared):
    task_id = shared.submit(show_too_much)
    shared.end_of(task_id)
    shown = [event.data["data"] for event in shared.events(task_id) if event.kind == "display"]
    assert [text["text/html"][:2] for text in shown[:2]] == ["0x", "1x"]
    assert len(shown) == 8 + 1
    assert shown[-1]["text/html"].startswith("29x"), "the last one of those that are too many"
    assert shared.text(task_id, "stderr") == "\n[funcx-lab: 21 displays beyond 8 MiB were dropped]\n"
    assert shared.value(lambda: 1) == 1
