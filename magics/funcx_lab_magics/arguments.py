"""The grammar of ``%%funcx``, and what the parsers of its subcommands have in common with it."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any, NoReturn

from IPython.core.error import UsageError

from funcx_lab.errors import UsageError as BadRequirement
from funcx_lab.protocol.messages import SESSION_NAME
from funcx_lab.requirements import read_requirements

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
        words = _words(line, self)
        if {"-h", "--help"} & set(words):  # whatever else is there or missing
            return argparse.Namespace(help=True)
        return self.parse_args(words)


def _words(line: str, parser: argparse.ArgumentParser) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as err:
        parser.error(f"{str(err)[:1].lower()}{str(err)[1:]} in {line!r}")
    return _joined(words)


def _joined(words: list[str]) -> list[str]:
    """Join ``a,`` and ``b`` to one list, as people write them; an option ends it."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].endswith(",") and not word.startswith("-"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


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


def session_name(text: str) -> str:
    """Return ``text`` if a session may be called so; raises argparse.ArgumentTypeError otherwise."""
    if not SESSION_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name of at most 64 letters, digits, _, - and dots"
        )
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


def requirements(text: str) -> list[str]:
    """Return the requirements of ``numpy>=2,<3,scipy``; raises argparse.ArgumentTypeError if one is none."""
    try:
        return read_requirements(text)
    except BadRequirement as err:
        raise argparse.ArgumentTypeError(err.message) from None


def cell_parser() -> Parser:
    """Return the parser of the ``%%funcx`` line."""
    parser = Parser("%%funcx", "Run this cell at an endpoint.")
    add = parser.add_argument
    add(
        "target",
        nargs="?",
        metavar="ENDPOINT",
        help="name or id of the endpoint, or auto (default: %%funcx config)",
    )
    add("-i", "--in", dest="include", type=name_list, metavar="A,B", help="send only these names")
    add(
        "-x", "--exclude", type=name_list, default=[], metavar="A,B", help="used by the cell, but do not send"
    )
    add(
        "-m",
        "--map",
        type=name_list,
        metavar="X[,Y]",
        help="run the cell once per item of X, with X bound to the item; several names go in step",
    )
    add("--task", type=variable, metavar="VAR", help="also store the task under this name")
    add("-n", "--name", metavar="TEXT", help="label shown in tables")
    _add_place(parser)
    _add_again(parser)
    _add_manners(parser)
    add_defaults(parser)
    return parser


def _add_place(parser: Parser) -> None:
    """Add what a cell may ask of the place where it runs."""
    add = parser.add_argument
    add(
        "--session",
        type=session_name,
        metavar="NAME",
        help="run it on one worker with the session's other cells; what they assign stays there for the next",
    )
    add(
        "--requires",
        action="extend",
        type=requirements,
        default=[],
        metavar="REQUIREMENTS",
        help="packages that must be there, e.g. 'numpy>=2,scipy'; they are installed for the cell if the "
        "endpoint's owner allows it",
    )
    add(
        "--shell",
        action="store_true",
        help="the cell is a bash script; names that -i gives it are environment variables",
    )
    add(
        "--no-check",
        action="store_false",
        dest="check",
        help="send it even if the endpoint lacks what the cell imports",
    )


def _add_again(parser: Parser) -> None:
    """Add what says whether the cell may run again, or need not run at all."""
    add = parser.add_argument
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--retries",
        type=positive,
        default=0,
        metavar="N",
        help="run the cell again so often when it fails or runs out of time",
    )
    again.add_argument(
        "--at-most-once",
        action="store_true",
        help="never run it again once it may have started; if that is unknown, fail",
    )
    add("--ttl", type=duration, metavar="2h", help="end it when it has not ended this long after it was sent")
    add(
        "--memo",
        action="store_true",
        help="take the stored result of the same code with the same inputs there, if there is one",
    )
    add("--fresh", action="store_true", help="run it even if --memo has a result, and store the new one")


def _add_manners(parser: Parser) -> None:
    """Add what says how the cell behaves here."""
    add = parser.add_argument
    add("--local", action="store_true", help="also run the cell here, when it is on its way")
    add(
        "--no-stream",
        action="store_false",
        dest="stream",
        help="show what it prints and draws when it has ended, not while it runs",
    )
    add("--no-raise", action="store_true", help="show its error and go on: the cell's value is None then")
    add("--dry-run", action="store_true", help="say what would be sent and whether it fits, and run nothing")


def add_defaults(parser: Parser) -> None:
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
    add(
        "--progress-after",
        type=patience,
        metavar="S",
        help="seconds of silence after which the line tells how the task is (2); -1: never",
    )
    add("--on-interrupt", choices=("cancel", "detach"), help="what an interrupt does while waiting")
    add("--timeout", type=duration, metavar="30m", help="stop the cell when it has run this long")


def patience(text: str) -> float:
    """Return seconds, or -1 for never; raises argparse.ArgumentTypeError for anything else."""
    if text == "-1":
        return -1.0
    try:
        return 0.0 if text in ("0", "0s") else duration(text)
    except argparse.ArgumentTypeError as err:
        raise argparse.ArgumentTypeError(f"{err}, or -1 for never") from None


def whole(text: str) -> int:
    """Return a whole number, 0 or above; raises argparse.ArgumentTypeError for anything else."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or above")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number above zero; raises argparse.ArgumentTypeError for anything else."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return int(text)


def parse_cell_line(line: str) -> argparse.Namespace:
    """Parse the ``%%funcx`` line.

    Raises
    ------
    UsageError
        For anything the grammar does not have.
    """
    options = cell_parser().parse_line(line)
    if options.help:
        return options
    if options.target and options.endpoint and options.target != options.endpoint:
        raise UsageError(f"%%funcx: two endpoints, {options.target!r} and -e {options.endpoint!r}")
    options.endpoint = options.target or options.endpoint
    if options.shell and options.out not in (None, "auto", "none"):
        raise UsageError("%%funcx: a bash script leaves no names, so -o does not go with --shell")
    if options.session and options.shell:
        raise UsageError("%%funcx: --session keeps Python names; it does not go with --shell")
    if options.session and (options.memo or options.fresh):
        raise UsageError("%%funcx: what a session holds has no key, so --session does not go with --memo")
    if options.local and (options.shell or options.map):
        raise UsageError("%%funcx: --local runs the cell here once, as Python; not with --shell or --map")
    if options.session and options.out is None:
        options.out = "none"  # what a session's cells assign stays there
    return options


def with_defaults(options: argparse.Namespace, defaults: Any) -> argparse.Namespace:
    """Fill what the line leaves open from the notebook's defaults (an object with those attributes)."""
    for name in ("endpoint", "out", "background", "quiet", "progress_after", "on_interrupt", "timeout"):
        if getattr(options, name) is None:
            setattr(options, name, getattr(defaults, name))
    return options
