"""The grammar of ``%%funcx`` and ``%funcx``: one parser for the cell magic, one for each subcommand."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

#: What ``%funcx`` can do, in the order of its help.
SUBCOMMANDS = ("endpoints", "status", "tasks", "attach", "result", "logs", "cancel", "config")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Parser(argparse.ArgumentParser):
    """A parser that raises IPython's UsageError (one red line) where argparse would leave the process."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("-h", "--help", action="store_true", help="show this help and do nothing else")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message and where to read more."""
        raise UsageError(f"{self.prog}: {message}. Try {self.prog} --help")

    def parse_line(self, line: str) -> argparse.Namespace:
        """Parse what stands behind the magic's name, quoted as in a shell.

        Raises
        ------
        UsageError
            For an unknown option or a missing or wrong value.
        """
        return self.parse_args(_words(line, self))


def _words(line: str, parser: argparse.ArgumentParser) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as err:
        parser.error(f"{str(err)[:1].lower()}{str(err)[1:]} in {line!r}")
    return words


def name_list(text: str) -> list[str]:
    """Return the names of ``a,b``.

    Raises
    ------
    argparse.ArgumentTypeError
        If one is not a Python name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not name.isidentifier():
            raise argparse.ArgumentTypeError(f"{name!r} is not a name")
    return names


def variable(text: str) -> str:
    """Return ``text`` if it is one Python name; raises argparse.ArgumentTypeError otherwise."""
    if not text.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name")
    return text


def outputs(text: str) -> str | list[str]:
    """Return ``"auto"``, ``"none"``, ``"*"`` or the list of names."""
    return text if text in ("auto", "none", "*") else name_list(text)


def duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``30m``, ``2h`` or ``1d``.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none of these, or zero.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2] or ""] if match else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 90s, 30m or 2h")
    return seconds


def cell_parser() -> Parser:
    """Return the parser of the ``%%funcx`` line."""
    parser = Parser("%%funcx", "Run this cell at an endpoint.")
    add = parser.add_argument
    add("target", nargs="?", metavar="ENDPOINT", help="name or id of the endpoint (default: %%funcx config)")
    add("-i", "--in", dest="include", type=name_list, metavar="A,B", help="send only these names")
    add(
        "-x", "--exclude", type=name_list, default=[], metavar="A,B", help="used by the cell, but do not send"
    )
    add("--task", type=variable, metavar="VAR", help="also store the task under this name")
    add("-n", "--name", metavar="TEXT", help="label shown in tables")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--retries",
        type=_positive,
        default=0,
        metavar="N",
        help="run the cell again so often when it fails or runs out of time",
    )
    again.add_argument(
        "--at-most-once",
        action="store_true",
        help="never run it again once it may have started; if that is unknown, fail",
    )
    add("--dry-run", action="store_true", help="say what would be sent, and run nothing")
    _add_defaults(parser)
    return parser


def _add_defaults(parser: Parser) -> None:
    """Add the options that ``%funcx config`` can set for the whole notebook."""
    add = parser.add_argument
    add("-e", "--endpoint", metavar="NAME", help="the endpoint, for scripts")
    add(
        "-o",
        "--out",
        type=outputs,
        metavar="A,B|auto|none|'*'",
        help="names to bring back: these, those up to 1 MiB each that the cell assigns (auto, the default), "
        "none, or all it assigns",
    )
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "-b", "--bg", action="store_true", default=None, dest="background", help="do not wait; give the task"
    )
    waiting.add_argument(
        "-w", "--wait", action="store_false", default=None, dest="background", help="wait (the default)"
    )
    add("-q", "--quiet", action="store_true", default=None, help="no manifest line, only the cell's output")
    add("--on-interrupt", choices=("cancel", "detach"), help="what an interrupt does while waiting")
    add("--timeout", type=duration, metavar="30m", help="stop the cell when it has run this long")


def _endpoints() -> Parser:
    parser = Parser("%funcx endpoints", "List your endpoints.")
    parser.add_argument("--json", action="store_true", help="give a list of dictionaries")
    return parser


def _status() -> Parser:
    parser = Parser("%funcx status", "Say how an endpoint is, and what it does.")
    parser.add_argument(
        "endpoint", nargs="?", metavar="ENDPOINT", help="name or id (default: %%funcx config)"
    )
    return parser


def _tasks() -> Parser:
    parser = Parser("%funcx tasks", "List tasks, the newest first.")
    add = parser.add_argument
    add("-n", dest="count", type=_positive, default=20, metavar="20", help="how many")
    add("--state", metavar="RUNNING,FAILED", help="only tasks in these states")
    add("--here", action="store_true", help="only tasks of this notebook since its kernel started")
    return parser


def _attach() -> Parser:
    parser = Parser("%funcx attach", "Show a task here, live.")
    _add_task(parser)
    return parser


def _result() -> Parser:
    parser = Parser("%funcx result", "Wait for a task; give its value and bring its names back.")
    _add_task(parser)
    parser.add_argument("-o", "--out", type=variable, metavar="VAR", help="store the value under this name")
    return parser


def _logs() -> Parser:
    parser = Parser("%funcx logs", "Print what a task has written.")
    add = parser.add_argument
    _add_task(parser)
    add("-f", "--follow", action="store_true", help="go on until it ends")
    add("-n", dest="count", type=_positive, metavar="100", help="only the last lines")
    return parser


def _cancel() -> Parser:
    parser = Parser("%funcx cancel", "Cancel tasks.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="ids, their beginnings or ends, or last")
    parser.add_argument("--all", action="store_true", help="every task of this notebook that has not ended")
    return parser


def _add_task(parser: Parser) -> None:
    text = "id, its beginning or end, or last"
    parser.add_argument("task", nargs="?", default="last", metavar="TASK", help=text)


def _config() -> Parser:
    parser = Parser("%funcx config", "Show or set what cells of this notebook run with by default.")
    _add_defaults(parser)
    parser.add_argument("--show", action="store_true", help="show them (also when nothing is given)")
    parser.add_argument("--reset", action="store_true", help="forget what was set here")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return int(text)


_PARSERS = {
    "endpoints": _endpoints,
    "status": _status,
    "tasks": _tasks,
    "attach": _attach,
    "result": _result,
    "logs": _logs,
    "cancel": _cancel,
    "config": _config,
}


def subcommand_parser(name: str) -> Parser:
    """Return the parser of one subcommand of ``%funcx``.

    Raises
    ------
    UsageError
        If there is no such subcommand.
    """
    if name not in _PARSERS:
        raise UsageError(f"%funcx: no subcommand {name!r}. There are: {', '.join(SUBCOMMANDS)}")
    return _PARSERS[name]()


def parse_cell_line(line: str) -> argparse.Namespace:
    """Parse the ``%%funcx`` line.

    Raises
    ------
    UsageError
        For anything the grammar does not have.
    """
    options = cell_parser().parse_line(line)
    if options.target and options.endpoint and options.target != options.endpoint:
        raise UsageError(f"%%funcx: two endpoints, {options.target!r} and -e {options.endpoint!r}")
    options.endpoint = options.target or options.endpoint
    return options


def with_defaults(options: argparse.Namespace, defaults: Any) -> argparse.Namespace:
    """Fill what the line leaves open from the notebook's defaults (an object with those attributes)."""
    for name in ("endpoint", "out", "background", "quiet", "on_interrupt", "timeout"):
        if getattr(options, name) is None:
            setattr(options, name, getattr(defaults, name))
    return options


def overview() -> str:
    """Return the help of ``%funcx``: each subcommand and its one line."""
    parsers: Sequence[tuple[str, Parser]] = [(name, subcommand_parser(name)) for name in SUBCOMMANDS]
    lines = [f"  %funcx {name:<10} {parser.description}" for name, parser in parsers]
    return "\n".join(
        ["%funcx SUBCOMMAND: tasks and endpoints from the notebook.", "", *lines, "", "Each has --help."]
    )
