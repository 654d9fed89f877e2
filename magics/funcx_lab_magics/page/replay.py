"""Show a task's events as if they happened here: real stream messages and real displays.

Only the main thread may replay: a write from another thread would land in whichever cell runs then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from funcx_lab.protocol.messages import Event


class Replay:
    """Replays events into one notebook.

    Parameters
    ----------
    shell : InteractiveShell
        Where displays go.
    metadata : mapping
        Put into the metadata of every output that is not text.
    later : bool
        Keep everything for `finish`.
    on_cleared : callable, optional
        Called when what is shown here was cleared, and is not to be empty any more.
    """

    def __init__(
        self,
        shell: Any,
        metadata: Mapping[str, Any],
        *,
        later: bool = False,
        on_cleared: Callable[[], None] = lambda: None,
    ) -> None:
        self._publisher = shell.display_pub
        self._on_cleared, self._is_cleared = on_cleared, False
        self._metadata = dict(metadata)
        self._kept: list[Event] | None = [] if later else None

    def __call__(self, event: Event) -> None:
        """Show one event; kinds that have no look here are passed over."""
        if self._kept is None:
            self._show(event)
        else:
            self._kept.append(event)

    def finish(self) -> None:
        """Show what was kept."""
        kept, self._kept = self._kept, None
        for event in kept or ():
            self._show(event)
        self._fill()

    def _fill(self) -> None:
        """Let what was cleared be shown anew; not before there is more: a figure may only be replaced."""
        if self._is_cleared:
            self._is_cleared = False
            self._on_cleared()

    def _show(self, event: Event) -> None:
        if event.kind in ("stdout", "stderr", "display"):
            self._fill()
        if event.kind in ("stdout", "stderr"):
            stream = sys.stdout if event.kind == "stdout" else sys.stderr
            stream.write(str(event.data))
            stream.flush()
        elif event.kind in ("display", "update_display") and isinstance(event.data, Mapping):
            self._display(event.data, update=event.kind == "update_display")
        elif event.kind == "clear":
            wait = bool(event.data.get("wait")) if isinstance(event.data, Mapping) else bool(event.data)
            self._publisher.clear_output(wait)
            self._is_cleared = True

    def _display(self, data: Mapping[str, Any], *, update: bool) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._publisher.publish(
            data=dict(data.get("data") or {}),
            metadata={**(data.get("metadata") or {}), **self._metadata},
            transient=dict(data.get("transient") or {}),
            update=update,
        )
