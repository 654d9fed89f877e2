"""Shell commands as functions: what the shell gets, what comes back, and what is ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from funcx_lab import ShellFunction, serialize
from funcx_lab.errors import ShellError, UsageError, WalltimeReached
from funcx_lab.shell import ShellResult, ShellScript
from funcx_lab.shell.process import KEPT_BYTES

NASTY = ["a b", "$(touch hacked)", "`touch hacked`", "it's", 'say "x"', "-n", "*", "ä\n;", "", "\\"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(result: ShellResult) -> list[str]:
    return result.stdout.split("\0")[:-1]


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# --- what the shell gets ----------------------------------------------------------------------------


def test_each_value_is_one_word_whatever_is_in_it(here: Path) -> None:
    show = ShellFunction(r"printf '%s\0' {value}")
    assert [words(show(value)) for value in NASTY] == [[value] for value in NASTY]
    assert not list(here.rglob("hacked"))


def test_each_item_of_a_list_is_a_word() -> None:
    show = ShellFunction(r"printf '%s\0' {first} {rest} {first}")
    assert words(show(rest=NASTY, first=1)) == ["1", *NASTY, "1"]
    assert words(show("x", ())) == ["x", "x"]


def test_values_are_formatted_as_python_does() -> None:
    show = ShellFunction(r"printf '%s\0' {x:.2f} {path.name} {{}} $HOME")
    assert words(show(x=1.234, path=Path("a/b c"))) == ["1.23", "b c", "{}", os.environ["HOME"]]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("echo '{a}'", "in quotes"),
        ('echo "{a}"', "in quotes"),
        ('echo "$(date) {a}"', "in quotes"),
        ("echo `ls {a}`", "backquotes"),
        ("cat <<END\n{a}\nEND", "behind <<"),
        ("echo hi # {a}", "comment"),
        ("awk '{print $1}'", "placeholder"),
        ("echo ${HOME}", "placeholder"),
        ("echo {}", "placeholder"),
        ("echo {0}", "placeholder"),
        ("echo {a:{b}}", "placeholder"),
        ("echo {a", "cannot be read"),
        ("  ", "text"),
        ("a\0b", "text"),
    ],
)
def test_a_placeholder_that_quoting_does_not_hold_for_is_refused(command: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        ShellFunction(command)


@pytest.mark.parametrize(
    "command",
    ["# don't\ncat {a}", 'cat "$(echo {a})"', "echo 'it'\"'\"'s' {a}", "echo \\' {a}", "(cat {a}; echo ')')"],
)
def test_quotes_that_are_closed_are_in_nobodys_way(command: str) -> None:
    assert "funcx" in ShellFunction(command)("funcx").cmd


@pytest.mark.parametrize(
    ("args", "kwargs", "word"),
    [
        ((), {}, "no value for {a}"),
        ((1, 2), {}, "2 values for 1"),
        ((1,), {"a": 1}, "two values for {a}"),
        ((1,), {"b": 1}, "no placeholder {b}"),
        ((None,), {}, "None"),
        (("a\0",), {}, "null byte"),
        (([None],), {}, "None"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    args: tuple[object, ...], kwargs: dict[str, object], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        ShellFunction("echo {a}")(*args, **kwargs)


@pytest.mark.parametrize(
    "option", [{"stdout": 1}, {"stderr": ""}, {"cwd": "\0"}, {"walltime": 0}, {"walltime": True}]
)
def test_options_that_make_no_sense_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        ShellFunction("true", **option)


# --- what comes back --------------------------------------------------------------------------------


def test_result_says_how_it_went(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = ShellFunction("pwd; cat; echo oh >&2; exit 3", stdout="out.txt", stderr="err.txt")()
    directory = Path(str(result.directory))
    assert (result.returncode, result.stdout, result.stderr) == (3, f"{directory}\n", "oh\n")
    assert directory.parent.parent == here
    assert Path(str(result.stdout_path)).read_text() == result.stdout
    assert Path(str(result.stderr_path)) == directory / "err.txt"
    assert "exit code 3 after" in repr(result)
    assert "  oh" in repr(result)
    assert capsys.readouterr() == (result.stdout, result.stderr)


def test_it_travels_and_has_a_name() -> None:
    packed = serialize.pack_function(ShellFunction("/usr/bin/printf {a}", check=True))
    assert packed.name == "printf"
    result = serialize.unpack_function(packed.body)("x")
    assert serialize.unpack_value(serialize.pack_value(result).tobytes()) == result


def test_directories_that_stay_empty_go(here: Path) -> None:
    assert ShellFunction("true")().directory is None
    assert list((here / "funcx-shell").iterdir()) == []
    (here / "own").mkdir()
    assert ShellFunction("echo x > file", cwd="own")().directory == str(here / "own")
    assert list((here / "funcx-shell").iterdir()) == []
    assert [path.name for path in (here / "own").iterdir()] == ["file"]


def test_long_output_keeps_its_end_and_says_so() -> None:
    lines = ShellFunction("seq {count}", stdout="all")(400_000)
    whole = Path(str(lines.stdout_path)).read_text()
    assert whole.endswith(lines.stdout)
    assert len(lines.stdout) == KEPT_BYTES
    assert lines.stdout_dropped == len(whole) - KEPT_BYTES
    assert f"{lines.stdout_dropped:,} bytes of stdout" in repr(lines)


def test_characters_are_never_cut_in_two() -> None:
    result = ShellFunction("yes ä€ | head -n {count}")(300_000)
    assert "\N{REPLACEMENT CHARACTER}" not in result.stdout
    assert ShellFunction(r"printf 'a\xffb'")().stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_check_raises_with_the_last_lines() -> None:
    with pytest.raises(ShellError, match=r"exit code 2\.\nno such sample") as caught:
        ShellFunction("echo no such sample >&2; exit 2", check=True)()
    assert caught.value.details["returncode"] == 2


def test_what_cannot_be_started_says_why() -> None:
    with pytest.raises(ShellError, match="No such file"):
        ShellFunction("true", cwd="/nowhere/at/all")()
    with pytest.raises(ShellError, match="too long"):
        ShellFunction("echo {a}")("x" * 200_000)


def test_a_signal_is_told() -> None:
    assert ShellFunction("kill -SEGV $$")().returncode == -signal.SIGSEGV


# --- what is ended ----------------------------------------------------------------------------------


def test_walltime_ends_the_whole_group(here: Path) -> None:
    started = time.monotonic()
    stubborn = "(trap '' TERM; echo $BASHPID > {file}; while :; do sleep 0.05; done) & wait"
    with pytest.raises(WalltimeReached, match=r"walltime of 0\.3 s") as caught:
        ShellFunction(f"echo begun; {stubborn}", walltime=0.3)(here / "pid")
    assert caught.value.details["stdout"] == "begun\n"
    assert time.monotonic() - started < 30
    assert ends(int((here / "pid").read_text()))


def test_what_is_left_running_is_ended_and_does_not_hold_the_result(here: Path) -> None:
    started = time.monotonic()
    result = ShellFunction("sleep 60 & echo $! > {file}; echo done")(here / "pid")
    assert (result.returncode, result.stdout) == (0, "done\n")
    assert time.monotonic() - started < 30
    assert ends(int((here / "pid").read_text()))


def test_a_command_that_closes_its_output_is_waited_for() -> None:
    result = ShellFunction("exec >&- 2>&-; sleep 0.2; exit 4")()
    assert result.returncode == 4
    assert result.seconds >= 0.2


def test_an_interrupt_ends_the_group_and_lets_it_clean_up(here: Path) -> None:
    command = (
        "file={file}; trap 'echo bye > $file; exit 1' TERM; kill -INT $PPID; while :; do sleep 0.05; done"
    )
    with pytest.raises(KeyboardInterrupt):
        ShellFunction(command)(here / "bye")
    assert (here / "bye").read_text() == "bye\n"


# --- scripts ----------------------------------------------------------------------------------------


def test_a_script_gets_names_as_variables_and_its_text_as_it_is() -> None:
    script = ShellScript(
        "name={x}\nfor i in 1 2; do echo \"$name ${value}\"; done\ncat <<'END'\n${value}\nEND\n"
    )
    assert script(value="$(id)").stdout == "{x} $(id)\n{x} $(id)\n${value}\n"
