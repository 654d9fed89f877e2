"""``%funcx config``: the notebook's defaults."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from IPython.core.error import UsageError
from traitlets import TraitError

from funcx_lab.config import read_json, write_private
from funcx_lab_magics.arguments import Parser, add_defaults
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table

#: IPython reads this file of its profile beside ``ipython_config.py``, and lets it win.
_FILE = "ipython_config.json"


def _arguments(parser: Parser) -> None:
    add_defaults(parser)
    add = parser.add_argument
    add("--show", action="store_true", help="show them (also when nothing is given)")
    add("--reset", action="store_true", help="forget what was set here")
    add("--save", action="store_true", help="keep them in the IPython profile, for every notebook")


def _config(notebook: Notebook, options: argparse.Namespace) -> Table:
    if options.reset:
        notebook.settings.reset()
    try:
        notebook.settings.set_from(options)
    except TraitError as err:
        raise UsageError(f"%funcx config: {err}") from None
    if options.save:
        notebook.say(f"saved in {_save(notebook)}")
    return Table("Defaults of %%funcx", ("name", "value", "from", "meaning"), _rows(notebook))


def _rows(notebook: Notebook) -> list[tuple[str, str, str, str]]:
    """Return the defaults as they hold for the next cell: the endpoint may be the notebook's own."""
    default = notebook.default_endpoint
    return [
        (name, default.name, default.origin, meaning)
        if name == "endpoint"
        else (name, value, origin, meaning)
        for name, value, origin, meaning in notebook.settings.shown()
    ]


def _save(notebook: Notebook) -> Path:
    """Put what differs from the built-in defaults into the profile; return the file.

    Raises
    ------
    UsageError
        If this IPython has no profile.
    ConfigError
        If the file is damaged or cannot be written.
    """
    profile = getattr(notebook.shell, "profile_dir", None)
    if profile is None:
        raise UsageError("%funcx config --save: this IPython has no profile to save them in.")
    path = Path(profile.location) / _FILE
    document = read_json(path) or {}
    document["FuncX"] = notebook.settings.changed()
    write_private(path, json.dumps(document, indent=2) + "\n")
    return path


COMMANDS = (Command("config", "Show, set or save what cells run with by default.", _arguments, _config),)
