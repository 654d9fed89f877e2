"""The grammar of the magics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from funcx_lab_magics.arguments import parse_cell_line, with_defaults
from funcx_lab_magics.commands import COMMANDS, find_command, overview


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {"endpoint": None, "include": None, "exclude": [], "out": None, "background": None}),
        ("cluster", {"endpoint": "cluster"}),
        ("-e cluster", {"endpoint": "cluster"}),
        ("cluster -e cluster", {"endpoint": "cluster"}),
        ("-i a,b -x c", {"include": ["a", "b"], "exclude": ["c"]}),
        ("-o a,b", {"out": ["a", "b"]}),
        ("-o a, b -i c, d box", {"out": ["a", "b"], "include": ["c", "d"], "endpoint": "box"}),
        ("-o auto", {"out": "auto"}),
        ("-o none", {"out": "none"}),
        ("-o '*'", {"out": "*"}),
        ("-o *", {"out": "*"}),
        ("-b --task job cluster", {"background": True, "task": "job", "endpoint": "cluster"}),
        ("--bg", {"background": True}),
        ("-w", {"background": False}),
        ("-n 'fit model' -q", {"name": "fit model", "quiet": True}),
        ("--on-interrupt detach", {"on_interrupt": "detach"}),
        ("--timeout 30m", {"timeout": 1800.0}),
        ("--timeout 1.5h", {"timeout": 5400.0}),
        ("--timeout 90", {"timeout": 90.0}),
        ("--retries 3", {"retries": 3, "at_most_once": False}),
        ("--at-most-once", {"retries": 0, "at_most_once": True}),
        ("--dry-run", {"dry_run": True}),
    ],
)
def test_the_cell_line(line: str, expected: dict[str, Any]) -> None:
    options = vars(parse_cell_line(line))
    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--res gpus=1", "unrecognized arguments: --res"),
        ("--map 3x", "'3x' is not a name"),
        ("--tim 3", "unrecognized arguments: --tim"),
        ("a b", "unrecognized arguments: b"),
        ("a -e b", "two endpoints"),
        ("-i", "expected one argument"),
        ("-i 3x", "'3x' is not a name"),
        ("--task a.b", "'a.b' is not a name"),
        ("--timeout soon", "'soon' is not a duration"),
        ("--timeout 0s", "'0s' is not a duration"),
        ("--on-interrupt explode", "invalid choice"),
        ("-b -w", "not allowed with"),
        ("--retries 2 --at-most-once", "not allowed with"),
        ("--retries often", "'often' is not a number"),
        ("-n 'open", "quotation"),
    ],
)
def test_what_the_cell_line_refuses(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_cell_line(line)


def test_defaults_fill_what_the_line_leaves_open() -> None:
    defaults = SimpleNamespace(
        endpoint="local",
        out="auto",
        background=True,
        quiet=False,
        progress_after=9.0,
        on_interrupt="detach",
        timeout=None,
    )
    options = with_defaults(parse_cell_line("-o none -w"), defaults)
    assert (options.endpoint, options.out, options.background) == ("local", "none", False)
    assert (options.quiet, options.on_interrupt, options.timeout) == (False, "detach", None)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_subcommand_has_help_and_takes_it(name: str) -> None:
    parser = find_command(name).parser()
    assert parser.parse_line("--help").help
    assert f"%funcx {name}" in overview()


def test_an_unknown_subcommand_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no subcommand 'frobnicate'.*endpoints, status, env, tasks"):
        find_command("frobnicate")


def test_an_unknown_option_of_a_subcommand_is_refused() -> None:
    with pytest.raises(UsageError, match="unrecognized arguments"):
        find_command("tasks").parser().parse_line("--everything")
