"""``%autofuncx``: every cell runs at an endpoint until it is switched off; IPython's own lines stay here."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    no_var_expand,
    output_can_be_silenced,
)

from funcx_lab_magics.arguments import parse_cell_line
from funcx_lab_magics.magics import plain_errors
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.running.cell_run import run_cell

#: A line that only IPython understands: ``%magic``, ``!command``, ``?help``, ``x = !command``, ``help?``.
_LOCAL = re.compile(r"[%!?]|[A-Za-z_][\w.,\s]*=\s*[%!]|[A-Za-z_][\w.]*\?{1,2}\s*$")


@magics_class
class AutoFuncX(Magics):
    """The switch, and the transformer of cells behind it.

    Parameters
    ----------
    notebook : Notebook
        Whose cells go to an endpoint.
    """

    def __init__(self, notebook: Notebook) -> None:
        super().__init__(notebook.shell)
        self._notebook = notebook
        self._line: str | None = None
        self._depth = 0  # cells that run now: magics run their bodies inside of a cell

    @line_cell_magic("autofuncx")  # type: ignore[arg-type]  # IPython's decorators are typed for functions that take nothing
    @no_var_expand
    @output_can_be_silenced
    def autofuncx(self, line: str, cell: str | None = None) -> Any:
        """Run every cell at an endpoint: ``%autofuncx [ENDPOINT] [options of %%funcx]``, ``%autofuncx off``.

        Each such cell says where it runs. Lines that only IPython understands (``%magic``, ``!command``,
        ``name?``) and cells that begin with ``%%`` stay here.
        """
        with plain_errors():
            options = parse_cell_line("" if line.strip() == "off" else line)
            if options.help:
                print(inspect.cleandoc(str(self.autofuncx.__doc__)))
            elif cell is None:
                self._switch(line.strip(), options)
            else:
                where = options.endpoint or self._notebook.place()
                self._notebook.say(f"autofuncx: on {where} · %autofuncx off ends it")
                return run_cell(self._notebook, options, cell)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Return a cell's lines as they are to run; IPython calls this for each cell and for parts of one."""
        return lines if self._line is None or self._depth else transform(lines, self._line)

    def install(self) -> None:
        """Look at every cell from now on."""
        self._notebook.shell.input_transformers_cleanup.append(self.transform)
        self._notebook.shell.events.register("pre_execute", self._enter)
        self._notebook.shell.events.register("post_execute", self._leave)

    def uninstall(self) -> None:
        """Undo `install`."""
        self._notebook.shell.input_transformers_cleanup.remove(self.transform)
        self._notebook.shell.events.unregister("pre_execute", self._enter)
        self._notebook.shell.events.unregister("post_execute", self._leave)

    def _enter(self) -> None:
        self._depth += 1

    def _leave(self) -> None:
        self._depth = max(0, self._depth - 1)  # the cell that loads us was entered before

    def _switch(self, line: str, options: argparse.Namespace) -> None:
        if line == "off":
            self._line = None
            self._notebook.say("autofuncx is off: cells run here")
            return
        self._line = line
        where = options.endpoint or self._notebook.place()
        self._notebook.say(f"autofuncx: from the next cell on, cells run on {where} · %autofuncx off ends it")


def transform(lines: list[str], line: str) -> list[str]:
    """Return a cell's lines so that its Python goes to an endpoint and IPython's own lines stay here.

    Parameters
    ----------
    lines : list of str
        The cell, each line with its end.
    line : str
        Endpoint and options, as behind ``%%funcx``.
    """
    text = "".join(lines)
    is_python = bool(text.strip()) and not text.lstrip().startswith("%%")
    if not is_python or any(each.startswith("%autofuncx") for each in lines):
        return lines
    parts = list(_parts(lines))
    if not all(is_local or _is_whole(part) for is_local, part in parts):
        parts = [(False, text)]  # split it would not be what was meant; the endpoint's message says why
    changed: list[str] = []
    for is_local, part in parts:
        changed.append(part if is_local or _is_empty(part) else _remote(line, part))
    return "".join(changed).splitlines(keepends=True)


def _parts(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Yield runs of lines: whether they stay here, and their text."""
    is_local, part = False, ""
    for each in lines:
        if bool(_LOCAL.match(each)) != is_local:
            yield is_local, part
            is_local, part = not is_local, ""
        part += each
    yield is_local, part


def _is_whole(part: str) -> bool:
    try:
        compile(part, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _is_empty(part: str) -> bool:
    return all(not each.strip() or each.lstrip().startswith("#") for each in part.splitlines())


def _remote(line: str, part: str) -> str:
    return f"get_ipython().run_cell_magic('autofuncx', {line!r}, {part!r})\n"
