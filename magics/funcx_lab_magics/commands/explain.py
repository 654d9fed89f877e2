"""``%funcx explain``: what the last cell sent and why, or why one name can or cannot be sent."""

from __future__ import annotations

import argparse

from IPython.core.error import UsageError

from funcx_lab_magics.arguments import Parser, variable
from funcx_lab_magics.cell.explanation import Explained, Fate, about
from funcx_lab_magics.cell.names import CellNames, read_names
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table


def _arguments(parser: Parser) -> None:
    text = "one name of the notebook or the cell (default: every name of the last cell)"
    parser.add_argument("name", nargs="?", type=variable, metavar="NAME", help=text)


def _explain(notebook: Notebook, options: argparse.Namespace) -> Table:
    explained = _last(notebook)
    if options.name is None:
        if explained is None:
            raise UsageError("%funcx explain: no %%funcx cell was read yet; `%funcx explain NAME` works.")
        columns = ("name", "what happens", "size", "why", "first read")
        return Table(_caption(explained), columns, explained.rows())
    return Table(f"Name {options.name}", ("fact", "value"), _facts(notebook, options.name, explained))


def _caption(explained: Explained) -> str:
    if explained.manifest is None:
        return f"{explained.cell.filename} for {explained.options.endpoint} (refused: nothing was sent)"
    dry = " (dry run: nothing was sent)" if explained.options.dry_run else ""
    return f"{explained.cell.filename} for {explained.manifest.endpoint}{dry}"


def _facts(notebook: Notebook, name: str, explained: Explained | None) -> list[tuple[str, str]]:
    fates = [fate for fate in explained.rows() if fate.name == name] if explained else []
    namespace = notebook.namespace()
    if name not in namespace and not fates:
        raise UsageError(f"%funcx explain: there is no name {name!r}, and the last cell has none.")
    facts = about(name, namespace[name]) if name in namespace else []
    return [*facts, *(("last cell", _sentence(fate)) for fate in fates)]


def _sentence(fate: Fate) -> str:
    return f"{fate.fate}: {fate.why}" + (f" ({fate.line})" if fate.line else "")


def _last(notebook: Notebook) -> Explained | None:
    """Return the cell that was read last, whether it was sent or refused."""
    if notebook.asked is None:
        return None
    cell, options = notebook.asked
    ready = notebook.last if notebook.last is not None and notebook.last.cell is cell else None
    try:
        names = CellNames({}, []) if options.shell else read_names(cell.source)
    except SyntaxError as err:
        raise UsageError(
            f"%funcx explain: the last cell is not Python ({err.msg}); nothing to say."
        ) from None
    manifest = ready.manifest if ready else None
    return Explained(cell, names, options, notebook.namespace(), manifest)


COMMANDS = (Command("explain", "Say what the last cell sent, and why.", _arguments, _explain),)
