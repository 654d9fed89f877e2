"""``%%funcx`` and ``%funcx``: parse the line, call the parts, show errors plainly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from funcx_lab import errors
from funcx_lab_magics.arguments import cell_parser, parse_cell_line
from funcx_lab_magics.commands import find_command, overview
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page import refusals
from funcx_lab_magics.page.failures import brief
from funcx_lab_magics.running.cell_run import run_cell


@magics_class
class FuncXMagics(Magics):
    """The magics of one notebook.

    Parameters
    ----------
    shell : InteractiveShell
        The notebook's IPython.
    """

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.notebook = Notebook(shell)

    @line_magic("funcx")  # type: ignore[arg-type]  # IPython's decorators are typed for functions that take nothing
    @no_var_expand
    def line_funcx(self, line: str) -> Any:
        """Perform ``%funcx SUBCOMMAND``."""
        name, _, rest = line.strip().partition(" ")
        if name in ("", "-h", "--help"):
            print(overview())
            return None
        with plain_errors():
            command = find_command(name)
            options = command.parser().parse_line(rest)
            if options.help:
                print(command.parser().format_help())
                return None
            return command.run(self.notebook, options)

    @cell_magic("funcx")  # type: ignore[arg-type]  # the same
    @no_var_expand
    @output_can_be_silenced
    def cell_funcx(self, line: str, cell: str) -> Any:
        """Run this cell at an endpoint."""
        with plain_errors():
            options = parse_cell_line(line)
            if options.help:
                print(cell_parser().format_help())
                return None
            with refusals.offered(self.shell):
                return run_cell(self.notebook, options, cell)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show our own errors as one message, without frames of ours."""
    try:
        yield
    except errors.UsageError as err:
        raise UsageError(err.message) from None
    except errors.FuncxLabError as err:
        if hasattr(err, "_render_traceback_"):
            raise
        raise brief(err) from None
