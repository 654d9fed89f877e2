"""The manifest line: what goes where with a cell and what comes back, in one grey line."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from funcx_lab.looks import format_bytes
from funcx_lab_magics.cell.capture import Capture

#: Of one kind of names, so many are listed; the rest are counted.
SHOWN = 8


@dataclass(frozen=True)
class Manifest:
    """What one run of a cell sends and brings back.

    Attributes
    ----------
    endpoint : str
        Where it runs.
    captured : Capture
        What is sent.
    outputs : sequence of str
        The names expected back.
    replaced : collection of str
        Those of them that exist here and get a new value.
    changed : collection of str
        Names whose content the cell changes.
    maps : str
        Over what it is mapped.
    requires : sequence of str
        Packages that must be there.
    session : str
        The session in which it runs.
    kept : sequence of str
        Names that it leaves there and that do not come back.
    """

    endpoint: str
    captured: Capture
    outputs: Sequence[str] = ()
    replaced: Collection[str] = field(default_factory=frozenset)
    changed: Collection[str] = field(default_factory=frozenset)
    maps: str = ""
    requires: Sequence[str] = ()
    session: str = ""
    kept: Sequence[str] = ()

    def parts(self) -> list[str]:
        """Return the parts of the line behind the endpoint's name."""
        captured = self.captured
        sent = [f"{name} {format_bytes(size)}" for name, size in captured.sizes.items()]
        sent += [f"{name}()" for name in captured.functions]
        back = [f"{name} (replaces)" if name in self.replaced else name for name in self.outputs]
        left_out = [f"{name} {format_bytes(size)}" for name, size in captured.left_out.items()]
        changed = [name for name in self.changed if name in captured.sizes and name not in self.outputs]
        parts = [
            _part("maps", [self.maps] if self.maps else []),
            _part(f"uses from session {self.session}:", captured.held) or self._where(),
            _part("requires", self.requires),
            _part("sends", sent),
            _part("replays", captured.imported),
            _part("leaves out", left_out, " (-i sends it)"),
            _part("brings back", back),
            _part("keeps there", self.kept, " (-o brings names back)"),
            _part("changes only there", changed, f" (-o {','.join(changed)} brings it back)"),
            self._hint(),
        ]
        return [part for part in parts if part]

    def _where(self) -> str:
        return f"in session {self.session}" if self.session else ""

    def _hint(self) -> str:
        large = self.captured.large
        return f"large: {', '.join(large)} (-x leaves it out)" if large else ""

    def text(self, note: str = "") -> str:
        """Return the line as plain text."""
        return " · ".join([f"→ {self.endpoint}", *self.parts(), *([note] if note else [])])

    def html(self, note: str = "") -> str:
        """Return the line as HTML that takes the front end's colours and reads well without any."""
        return grey_line(self.text(note))


def grey_line(text: str) -> str:
    """Return one line of quiet HTML that takes the front end's colours."""
    return (
        '<div class="fx-manifest" style="font-size: 90%; '
        'color: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, inherit))">'
        f"{html.escape(text)}</div>"
    )


def _part(verb: str, names: Sequence[str], tail: str = "") -> str:
    if not names:
        return ""
    shown = list(names[:SHOWN])
    if len(names) > SHOWN:
        shown.append(f"{len(names) - SHOWN} more")
    return f"{verb} {', '.join(shown)}{tail}"
