"""One notebook: its IPython, its defaults, its tasks and its way to the hub service."""

from __future__ import annotations

import argparse
import platform
import re
import uuid
from pathlib import Path
from typing import Any

import funcx_lab
from funcx_lab.credentials import configured_service
from funcx_lab_magics.cell.capture import Cell
from funcx_lab_magics.cell.manifest import grey_line
from funcx_lab_magics.cell.ready import ReadyCell
from funcx_lab_magics.cell_map import CellMap, NotebookMaps
from funcx_lab_magics.default_endpoint import Default, DefaultEndpoint
from funcx_lab_magics.earlier import earlier_records, map_ids_in
from funcx_lab_magics.page.front_end import can_update, notebook_file
from funcx_lab_magics.session_book import SessionBook
from funcx_lab_magics.settings import BUILT_IN, FuncX
from funcx_lab_magics.tasks import Home, NotebookTasks, Task, fits

#: What IPython calls the values of earlier cells: ``_``, ``__``, ``___`` and ``_12``.
_LAST_RESULT = re.compile(r"_{1,3}|_\d+")


class Notebook:
    """What the magics of one notebook share.

    Parameters
    ----------
    shell : InteractiveShell
        The notebook's IPython.

    Attributes
    ----------
    shell : InteractiveShell
        The same.
    settings : FuncX
        The defaults of its cells.
    tasks : NotebookTasks
        Its tasks since the kernel started.
    maps : NotebookMaps
        Its maps since the kernel started.
    imports : dict
        Names that cells imported at an endpoint, to the statements: later cells there may use them, as if
        they had come back.
    asked : tuple of Cell and argparse.Namespace, or None
        The cell that was read last with its line's options, also when it was refused.
    sessions : SessionBook
        What the sessions hold in which its cells run.
    last : ReadyCell or None
        The cell that was prepared last.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.settings = FuncX(parent=shell)
        self.tasks = NotebookTasks(Home(shell.user_ns, self.say))
        self.maps = NotebookMaps(Home(shell.user_ns, self.say))
        self.imports: dict[str, list[str]] = {}
        self.sessions = SessionBook()
        self.asked: tuple[Cell, argparse.Namespace] | None = None
        self.last: ReadyCell | None = None
        self._default_endpoint = DefaultEndpoint(self.settings, lambda: self.file)
        self._client: tuple[str, funcx_lab.FuncXClient] | None = None
        self._said: set[str] = set()

    @property
    def has_front_end(self) -> bool:
        """Whether displays can change after they were shown."""
        return can_update(self.shell)

    def client(self) -> funcx_lab.FuncXClient:
        """Return the SDK's client for the service in the settings; the local one starts at first use."""
        url = self.settings.url
        if self._client is None or self._client[0] != url:
            group = self.task_group_id
            self._client = url, funcx_lab.FuncXClient(funcx_service_address=url or None, task_group_id=group)
        return self._client[1]

    @property
    def default_endpoint(self) -> Default:
        """Where cells go whose line names no endpoint, and who says so."""
        return self._default_endpoint.find()

    def place(self) -> str:
        """Return where a cell goes whose line names no endpoint.

        The built-in default is this machine's own; a hub service elsewhere may have none of that name,
        and then the only endpoint that it shows is meant.

        Raises
        ------
        funcx_lab.errors.UsageError
            If there are several, or none.
        """
        default = self.default_endpoint
        if default.origin != BUILT_IN or configured_service(self.settings.url or None) is None:
            return default.name
        return self.client().connection.endpoint(None)

    @property
    def file(self) -> Path | None:
        """The notebook's own file, if its front end told."""
        return notebook_file(self.shell)

    @property
    def task_group_id(self) -> str | None:
        """The group of its cells' tasks, which a restarted kernel knows again; None without a known file."""
        file = self.file
        return str(uuid.uuid5(uuid.NAMESPACE_URL, file.as_uri() + "@" + platform.node())) if file else None

    def forget_client(self) -> None:
        """Look anew at which service to use, when a client is needed next."""
        self._client = None

    @property
    def open_client(self) -> funcx_lab.FuncXClient | None:
        """The client, if there is one already: nothing is started for it."""
        return self._client[1] if self._client else None

    def find(self, word: str) -> Task:
        """Return the task that ``last``, an id, its beginning or its end stands for.

        Raises
        ------
        UsageError, TaskNotFound
            As `NotebookTasks.find`.
        """
        if word == "last" and not any(self.tasks):
            self.remember_earlier()
        return self.tasks.find(self.client(), word)

    def remember_earlier(self) -> None:
        """Count the notebook's tasks and maps of before its kernel started as its own, if its file is known.

        Raises
        ------
        FuncxLabError
            If the service does not answer.
        """
        if self.file is not None:
            client = self.client()
            self.tasks.remember(client, earlier_records(client, self.file, self.task_group_id))
            self.maps.remember(client, map_ids_in(self.file))

    def find_map(self, word: str, *, by_task: bool = False) -> CellMap | None:
        """Return the map that ``last`` or an id stands for, in whole or part; None if it stands for no map.

        Parameters
        ----------
        word : str
            ``last``, or the id of the map, or its beginning or end.
        by_task : bool
            Take the id of one of its tasks, too.

        Raises
        ------
        UsageError
            If it fits several maps.
        """
        if word == "last" and not any(self.tasks) and not any(self.maps):
            self.remember_earlier()
        tasks = list(self.tasks)
        if word == "last":
            return self.maps.last(after=tasks[-1].view.created if tasks else 0.0)
        if any(fits(word.strip("…"), task.task_id) for task in tasks):
            return None
        return self.maps.find(self.client(), word, by_task=by_task)

    def say(self, text: str) -> None:
        """Show one grey line."""
        self.shell.display_pub.publish(data={"text/plain": text, "text/html": grey_line(text)})

    def say_once(self, text: str) -> None:
        """Show one grey line, unless this notebook was told the same before."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def namespace(self) -> dict[str, Any]:
        """Return the notebook's names and its last results, without what else IPython put there."""
        hidden = self.shell.user_ns_hidden
        return {
            name: value
            for name, value in self.shell.user_ns.items()
            if name not in hidden or hidden[name] is not value or _LAST_RESULT.fullmatch(name)
        }
