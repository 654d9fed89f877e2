"""``%funcx config``: the notebook's defaults."""

from __future__ import annotations

import argparse

from funcx_lab_magics.arguments import Parser, add_defaults
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.display import Table
from funcx_lab_magics.notebook import Notebook


def _arguments(parser: Parser) -> None:
    add_defaults(parser)
    parser.add_argument("--show", action="store_true", help="show them (also when nothing is given)")
    parser.add_argument("--reset", action="store_true", help="forget what was set here")


def _config(notebook: Notebook, options: argparse.Namespace) -> Table:
    if options.reset:
        notebook.settings.reset()
    notebook.settings.set_from(options)
    return Table("Defaults of %%funcx", ("name", "value", "meaning"), notebook.settings.shown())


COMMANDS = (
    Command("config", "Show or set what cells of this notebook run with by default.", _arguments, _config),
)
