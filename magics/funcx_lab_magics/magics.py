"""``%%funcx`` and ``%funcx``: parse the line, call the parts, show what comes of it."""

from __future__ import annotations

import argparse
import re
import uuid
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

import funcx_lab
from funcx_lab import errors
from funcx_lab_magics.arguments import (
    cell_parser,
    overview,
    parse_cell_line,
    subcommand_parser,
    with_defaults,
)
from funcx_lab_magics.capture import Cell
from funcx_lab_magics.failures import CellInterrupted, brief, show_as
from funcx_lab_magics.manifest import Manifest, grey_line
from funcx_lab_magics.replay import Replay
from funcx_lab_magics.run_cell import ReadyCell, prepare
from funcx_lab_magics.settings import FuncX
from funcx_lab_magics.subcommands import Subcommands
from funcx_lab_magics.tasks import Home, NotebookTasks, Task
from funcx_lab_magics.waiting import wait

#: What IPython calls the values of earlier cells: ``_``, ``__``, ``___`` and ``_12``.
_LAST_RESULT = re.compile(r"_{1,3}|_\d+")


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
        self._shell = shell
        self.settings = FuncX(parent=shell)
        self.tasks = NotebookTasks(Home(shell.user_ns, self._say))
        #: what cells imported at an endpoint: later cells there may use it, as if it had come back
        self._imports: dict[str, list[str]] = {}
        self._client: tuple[str, funcx_lab.FuncXClient] | None = None
        self._subcommands = Subcommands(shell, self.settings, self.tasks, self.client)

    def client(self) -> funcx_lab.FuncXClient:
        """Return the SDK's client for the service in the settings; the local one starts at first use."""
        url = self.settings.url
        if self._client is None or self._client[0] != url:
            self._client = url, funcx_lab.FuncXClient(funcx_service_address=url or None)
        return self._client[1]

    @property
    def open_client(self) -> funcx_lab.FuncXClient | None:
        """The client, if there is one already: nothing is started for it."""
        return self._client[1] if self._client else None

    @line_magic("funcx")  # type: ignore[arg-type]  # IPython's decorators are typed for functions that take nothing
    @no_var_expand
    def line_funcx(self, line: str) -> Any:
        """Perform ``%funcx SUBCOMMAND``."""
        name, _, rest = line.strip().partition(" ")
        if name in ("", "-h", "--help"):
            print(overview())
            return None
        with _plain_errors():
            parser = subcommand_parser(name)
            options = parser.parse_line(rest)
            if options.help:
                print(parser.format_help())
                return None
            return self._subcommands.run(name, options)

    @cell_magic("funcx")  # type: ignore[arg-type]  # the same
    @no_var_expand
    @output_can_be_silenced
    def cell_funcx(self, line: str, cell: str) -> Any:
        """Run this cell at an endpoint."""
        with _plain_errors():
            options = parse_cell_line(line)
            if options.help:
                print(cell_parser().format_help())
                return None
            return self._run(with_defaults(options, self.settings), cell)

    def _run(self, options: argparse.Namespace, source: str) -> Any:
        ready = prepare(self._place(source), options, self._namespace(), self._imports)
        line = ManifestLine(self._shell, ready.manifest, quiet=options.quiet and not options.dry_run)
        line.show("dry run: nothing was sent" if options.dry_run else "")
        if options.dry_run:
            return None
        task = self._submit(ready)
        line.name_task(task)
        if options.task:
            self._shell.user_ns[options.task] = task
        if options.background:
            task.wait_accepted()
            return task
        replay = Replay(self._shell, task.view.metadata())
        return wait(task, replay, line.show, on_interrupt=options.on_interrupt)

    def _submit(self, ready: ReadyCell) -> Task:
        try:
            client = self.client()
            future = ready.submit(client)
        except KeyboardInterrupt:
            message = "Interrupted while the cell was being sent; %funcx tasks says whether it arrived."
            raise show_as(CellInterrupted(message), [message]) from None
        self._imports.update(ready.imported)
        return self.tasks.add(client, future, ready.options.endpoint, ready.options.name or "")

    def _say(self, text: str) -> None:
        """Show one grey line."""
        self._shell.display_pub.publish(data={"text/plain": text, "text/html": grey_line(text)})

    def _namespace(self) -> dict[str, Any]:
        """Return the notebook's names and its last results, without what else IPython put there."""
        hidden = self._shell.user_ns_hidden
        return {
            name: value
            for name, value in self._shell.user_ns.items()
            if name not in hidden or hidden[name] is not value or _LAST_RESULT.fullmatch(name)
        }

    def _place(self, source: str) -> Cell:
        """Return the cell with its name and the line its body starts on."""
        history = self._shell.history_manager.input_hist_raw
        raw = history[-1].rstrip()
        body = source.rstrip()
        if body and raw.endswith(body):
            first_line = raw[: -len(body)].count("\n") + 1
            return Cell(source, first_line, f"Cell In[{len(history) - 1}]")
        return Cell(source, 2, f"Cell In[{self._shell.execution_count}]")


class ManifestLine:
    """The manifest line of one run, updated in place where the front end can.

    Parameters
    ----------
    shell : InteractiveShell
        Where it is shown.
    manifest : Manifest
        What it says.
    quiet : bool
        Show nothing.
    """

    def __init__(self, shell: Any, manifest: Manifest, *, quiet: bool) -> None:
        self._shell = shell
        self._manifest = manifest
        self._quiet = quiet
        self._display_id = uuid.uuid4().hex
        self._metadata: dict[str, Any] = {"funcx": {"endpoint": manifest.endpoint}}
        self._is_shown = False

    def show(self, note: str = "") -> None:
        """Show the line, or show it anew with a note behind it."""
        has_front_end = getattr(self._shell, "kernel", None) is not None
        if self._quiet or (self._is_shown and not has_front_end):
            return
        self._shell.display_pub.publish(
            data={"text/plain": self._manifest.text(note), "text/html": self._manifest.html(note)},
            metadata=self._metadata,
            transient={"display_id": self._display_id},
            update=self._is_shown,
        )
        self._is_shown = True

    def name_task(self, task: Task) -> None:
        """Put the task's id into the output's metadata, so that a saved notebook knows its task."""
        self._metadata = task.view.metadata()
        self.show()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Show our own errors as one message, without frames of ours."""
    try:
        yield
    except errors.UsageError as err:
        raise UsageError(err.message) from None
    except errors.FuncxLabError as err:
        if hasattr(err, "_render_traceback_"):
            raise
        raise brief(err) from None
