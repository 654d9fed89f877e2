"""What one subcommand of ``%funcx`` is made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.notebook import Notebook


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes
    ----------
    name : str
        The word behind ``%funcx``.
    description : str
        What it does, one sentence for its help.
    add_arguments : callable
        Adds its arguments to a parser.
    run : callable
        Performs it for a notebook with the parsed line; gives the value of the cell.
    """

    name: str
    description: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[Notebook, argparse.Namespace], Any]

    def parser(self) -> Parser:
        """Return the parser of its line."""
        parser = Parser(f"%funcx {self.name}", self.description)
        self.add_arguments(parser)
        return parser


def add_task(parser: Parser) -> None:
    """Add the argument that names one task, the last one by default."""
    text = "id, its beginning or end, or last"
    parser.add_argument("task", nargs="?", default="last", metavar="TASK", help=text)
