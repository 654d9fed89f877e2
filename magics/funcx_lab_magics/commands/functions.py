"""``%funcx run``, ``register`` and ``functions``: one line at an endpoint, and registered functions."""

from __future__ import annotations

import argparse
import re
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.record_lists import FunctionList
from funcx_lab_magics.arguments import Parser, parse_cell_line, variable
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.running.cell_run import run_cell

#: What cells are called where they are registered.
_CELLS = ("cell", "script")
#: Ends the options of ``%funcx run``.
_DASHES = re.compile(r"(?:^|\s)--(?:\s|$)")


class _RunParser(Parser):
    """Splits the line at ``--`` and leaves the expression as it was written, quotes and all."""

    def parse_line(self, line: str) -> argparse.Namespace:
        """Return the options in front of ``--`` as those of a cell, and what is behind as ``source``.

        Raises
        ------
        UsageError
            If there is no expression, or an option is wrong.
        """
        if line.strip() in ("-h", "--help"):
            return argparse.Namespace(help=True)
        head, expression = "", line
        if dashes := _DASHES.search(line):
            head, expression = line[: dashes.start()], line[dashes.end() :]
        elif line.lstrip().startswith("-") and not line.lstrip()[1:2].isdigit():
            self.error("put -- between the options and the expression")
        if not expression.strip():
            self.error("there is no expression")
        return argparse.Namespace(help=False, cell=parse_cell_line(head), source=expression.strip())


class _RunCommand(Command):
    def parser(self) -> Parser:
        """Return the parser of its line."""
        parser = _RunParser(f"%funcx {self.name}", self.description)
        self.add_arguments(parser)
        return parser


def _run_arguments(parser: Parser) -> None:
    text = "endpoint and options as for %%%%funcx, ended by --"
    parser.add_argument("options", nargs="?", metavar="[ENDPOINT OPTIONS --]", help=text)
    parser.add_argument("expression", metavar="EXPR", help="one line of Python")


def _run(notebook: Notebook, options: argparse.Namespace) -> Any:
    return run_cell(notebook, options.cell, options.source)


def _register_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("function", type=variable, metavar="NAME", help="a function of the notebook")
    add("-n", "--name", metavar="TEXT", help="its name in tables (default: its own)")
    add("-d", "--description", metavar="TEXT", help="what it does")


def _register(notebook: Notebook, options: argparse.Namespace) -> str:
    function = notebook.namespace().get(options.function)
    if not callable(function):
        what = "is no function" if options.function in notebook.namespace() else "is not defined here"
        raise UsageError(f"%funcx register: {options.function!r} {what}.")
    name = options.name or options.function
    function_id = notebook.client().register_function(function, name, description=options.description)
    notebook.say(f"registered {name} · fxc.run(..., function_id=_) calls it · %funcx functions lists all")
    return function_id


def _functions_arguments(parser: Parser) -> None:
    text = "only those with this in their name, or whose name is like it: 'fit*'"
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help=text)
    parser.add_argument("--json", action="store_true", help="give a list of dictionaries")


def _functions(notebook: Notebook, options: argparse.Namespace) -> Any:
    found = notebook.client().get_functions(options.pattern)
    if options.json:
        return list(found)
    named = FunctionList(each for each in found if options.pattern or each["function_name"] not in _CELLS)
    if len(named) < len(found):
        notebook.say(
            f"{len(found) - len(named)} cells and scripts are left out; %funcx functions '*' lists them"
        )
    return named


COMMANDS = (
    _RunCommand("run", "Run one line at an endpoint and give its value.", _run_arguments, _run),
    Command("register", "Register a function and give its id.", _register_arguments, _register),
    Command("functions", "List your registered functions.", _functions_arguments, _functions),
)
