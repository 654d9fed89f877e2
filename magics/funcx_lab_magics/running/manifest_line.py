"""The manifest line on the page: shown before a cell leaves, changed in place while it waits."""

from __future__ import annotations

import uuid
from typing import Any, Protocol

from funcx_lab.looks import task_bundle
from funcx_lab_magics.page.front_end import can_update
from funcx_lab_magics.tasks import Task


class Words(Protocol):
    """What a line says, a `Manifest` for instance, with a note behind it."""

    @property
    def endpoint(self) -> str:
        """The endpoint it tells of."""

    def text(self, note: str = "") -> str:
        """Return it as plain text."""

    def html(self, note: str = "") -> str:
        """Return it as HTML."""


class ManifestLine:
    """The manifest line of one run, updated in place where the front end can.

    Parameters
    ----------
    shell : InteractiveShell
        Where it is shown.
    manifest : Words
        What it says.
    quiet : bool
        Show nothing.
    """

    def __init__(self, shell: Any, manifest: Words, *, quiet: bool) -> None:
        self._shell = shell
        self._manifest = manifest
        self._quiet = quiet
        self._display_id = uuid.uuid4().hex
        self._metadata: dict[str, Any] = {"funcx": {"endpoint": manifest.endpoint}}
        self._is_shown, self._note, self._has_card = False, "", False

    def show(self, note: str = "") -> None:
        """Show the line, or show it anew with a note behind it."""
        if self._quiet:
            return
        if self._is_shown and not can_update(self._shell):
            self._add(note)
            return
        self._shell.display_pub.publish(
            data=self._bundle(note),
            metadata=self._metadata,
            transient={"display_id": self._display_id},
            update=self._is_shown,
        )
        self._is_shown, self._note = True, note

    def _bundle(self, note: str) -> dict[str, Any]:
        """Return the line; once its task has a name, a JupyterLab can go on with it without the kernel."""
        text, markup = self._manifest.text(note), self._manifest.html(note)
        facts = self._metadata["funcx"]
        if self._has_card or "task_id" not in facts:
            return {"text/plain": text, "text/html": markup}
        return task_bundle(text, markup, {**facts, "view": "line"})

    def _add(self, note: str) -> None:
        """Show what is new where nothing can change that was shown."""
        if note:
            self._shell.display_pub.publish(data={"text/plain": note}, metadata=self._metadata)

    def show_anew(self) -> None:
        """Show the line once more where it now belongs: what was shown before is cleared."""
        self._is_shown = False
        self.show(self._note)

    def name_task(self, task: Task, *, has_card: bool = False) -> None:
        """Put the task's id into the output's metadata, so that a saved notebook knows its task.

        Parameters
        ----------
        task : Task
            The task.
        has_card : bool
            A card below the line shows how the task is: the line need not.
        """
        self._metadata, self._has_card = task.view.metadata(), has_card
        self.show()

    def end(self, task: Task) -> None:
        """Put into the metadata how the task ended; say so on the line if it had said how the task is."""
        self._metadata = task.view.metadata()
        self.show(task.view.ending() if self._note and can_update(self._shell) else "")
