"""Exceptions come back as their own type with the remote traceback, without frames of ours."""

import sys
import threading
import traceback

import pytest

from funcx_lab import serialize
from funcx_lab.errors import RemoteError, TaskError, WorkerLost
from funcx_lab.protocol import payload
from funcx_lab.protocol.messages import ErrorInfo


class Plain(Exception):
    pass


class TwoArguments(Exception):
    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")
        self.left = left


class HoldsFile(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.file = threading.Lock()
        self.kept = 3
        self.iterator = (i for i in ())


class BadText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Nasty(Exception):
    def __reduce__(self):
        raise RuntimeError("never")

    def __init__(self):
        super().__init__("nasty")


def raised(make):
    """Return what a worker would send for ``make``'s exception."""
    function = serialize.unpack_function(serialize.pack_function(make).body, task_id="t")
    try:
        function()
    except BaseException as err:
        return serialize.pack_exception(err)
    raise AssertionError("it did not raise")


def rebuilt(make, **kwargs):
    block, info = raised(make)
    return serialize.unpack_exception(block.tobytes(), info, **kwargs), info


def divide():
    return 1 / 0


def raise_two():
    raise TwoArguments("a", 2)


def raise_os():
    open("/no/such/file")  # noqa: SIM115  # it does not exist


def raise_key():
    return {}["missing"]


def raise_file():
    raise HoldsFile("kept text")


def raise_unicode():
    return b"\xff".decode()


def raise_chain():
    try:
        divide()
    except ZeroDivisionError as err:
        raise Plain("wrapped") from err


def raise_exit():
    sys.exit(3)


def raise_bad_text():
    raise BadText


def raise_nasty():
    raise Nasty


def raise_recursion():
    return raise_recursion()


def raise_surrogate():
    raise ValueError("bad \udcff name")


def raise_long():
    raise ValueError("x" * 1_000_000)


def test_a_builtin_exception_can_be_caught_and_shows_the_remote_lines():
    error, info = rebuilt(divide)
    with pytest.raises(ZeroDivisionError) as caught:
        raise error
    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / 0" in text
    assert "in divide" in text
    assert "funcx_lab/serialize" not in text
    assert (info.code, info.type, info.message) == ("TASK_FAILED", "ZeroDivisionError", "division by zero")
    assert isinstance(error.__cause__, RemoteError)


@pytest.mark.parametrize(
    ("make", "cls", "text"),
    [
        (raise_two, TwoArguments, "a and 2"),
        (raise_os, FileNotFoundError, "[Errno 2] No such file or directory: '/no/such/file'"),
        (raise_key, KeyError, "'missing'"),
        (raise_file, HoldsFile, "kept text"),
        (raise_unicode, UnicodeDecodeError, "invalid start byte"),
        (raise_chain, Plain, "wrapped"),
        (raise_nasty, Nasty, "nasty"),
        (raise_recursion, RecursionError, "maximum recursion depth exceeded"),
    ],
)
def test_the_type_and_text_survive(make, cls, text):
    error, info = rebuilt(make)
    assert type(error) is cls
    assert text in str(error)
    assert info.type.endswith(cls.__name__)


def test_attributes_survive_if_they_can_be_pickled():
    assert rebuilt(raise_two)[0].left == "a"
    error, _ = rebuilt(raise_file)
    assert vars(error) == {"kept": 3}
    assert rebuilt(raise_os)[0].errno == 2


def test_causes_are_shown():
    _, info = rebuilt(raise_chain)
    assert "ZeroDivisionError: division by zero" in info.traceback
    assert "direct cause" in info.traceback
    assert info.traceback.rstrip().endswith("Plain: wrapped")


def test_frames_of_ours_and_of_asyncio_are_cut():
    async def fails():
        return divide()

    _, info = rebuilt(fails)
    assert "asyncio" not in info.traceback
    assert "in fails" in info.traceback


def test_recursion_is_told_briefly():
    _, info = rebuilt(raise_recursion)
    assert len(info.traceback) < 3000


def test_an_exit_does_not_end_the_program_that_asks():
    error, info = rebuilt(raise_exit)
    assert type(error) is RemoteError
    assert info.type == "SystemExit"


def test_untrusted_exceptions_are_text():
    error, _ = rebuilt(divide, trusted=False)
    assert type(error) is RemoteError
    assert "ZeroDivisionError: division by zero" in str(error)
    assert "return 1 / 0" in str(error)


def test_a_broken_text_and_odd_characters_do_no_harm():
    assert "RuntimeError" in rebuilt(raise_bad_text)[1].message
    assert rebuilt(raise_surrogate)[1].message == r"bad \udcff name"
    _, info = rebuilt(raise_long)
    assert len(info.message) < 200_000
    assert len(info.traceback) < 200_000


def test_without_a_payload_or_with_a_damaged_one_the_text_remains():
    block, info = raised(divide)
    for damaged in (None, b"", b"garbage", block.tobytes()[:-1]):
        error = serialize.unpack_exception(damaged, info)
        assert type(error) is RemoteError
        assert "division by zero" in str(error)


def test_bytecode_of_another_python_is_not_loaded():
    cls = type("Invisible", (Exception,), {"hello": eval("lambda self: 1")})
    block, info = serialize.pack_exception(cls("x"))
    _, parts = payload.unpack(block.tobytes())
    foreign = payload.pack("exception", parts, python="3.9").tobytes()
    assert type(serialize.unpack_exception(foreign, info)) is RemoteError
    assert type(serialize.unpack_exception(block.tobytes(), info)).__name__ == "Invisible"


def test_failures_that_are_not_the_functions_have_their_own_class():
    error = serialize.unpack_exception(
        None, ErrorInfo(code="WORKER_LOST", message="killed", details={"host": "n1"})
    )
    assert type(error) is WorkerLost
    assert error.details == {"host": "n1"}
    unknown = serialize.unpack_exception(None, ErrorInfo(code="TASK_FAILED", message="odd"))
    assert isinstance(unknown, TaskError)


def test_groups_and_notes_are_shown_where_python_has_them():
    def fails():
        error = ValueError("noted")
        if hasattr(error, "add_note"):
            error.add_note("look here")
            raise ExceptionGroup("several", [error, KeyError("k")])  # noqa: F821  # Python 3.11
        raise error

    error, info = rebuilt(fails)
    assert "ValueError: noted" in info.traceback
    if sys.version_info >= (3, 11):
        assert "look here" in info.traceback
        assert [type(e) for e in error.exceptions] == [ValueError, KeyError]
