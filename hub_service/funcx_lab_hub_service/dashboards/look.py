"""How dashboards look: colours that stand out from a light and from a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Words, and the hatch that tells them apart without colour.
HATCHES = {
    "success": " ",
    "running": "right_diagonal_line",
    "failed": "cross",
    "cancelled": "dot",
    "expired": "dot",
}


@dataclass(frozen=True)
class Look:
    """The colours of one theme.

    Attributes
    ----------
    lines : tuple of str
        For what has no meaning of its own: endpoints, stages.
    """

    name: str
    page: str
    text: str
    quiet: str
    grid: str
    success: str
    running: str
    failed: str
    stopped: str
    waiting: str
    lines: tuple[str, ...]

    def of(self, state: str) -> str:
        """Return the colour of a task's state."""
        if state in ("success", "running", "failed"):
            return str(getattr(self, state))
        return self.stopped if state in ("cancelled", "expired") else self.waiting

    def theme(self) -> dict[str, Any]:
        """Return the attributes of a Bokeh theme."""
        font = {"text_font": _FONT, "text_color": self.text}
        axis = {
            "axis_line_color": self.quiet,
            "major_tick_line_color": self.quiet,
            "minor_tick_line_color": None,
        }
        labels = {f"axis_label_{key}": value for key, value in font.items()}
        ticks = {f"major_label_{key}": value for key, value in font.items()}
        return {
            "attrs": {
                "Plot": {
                    "background_fill_color": self.page,
                    "border_fill_color": self.page,
                    "outline_line_color": None,
                    "toolbar_location": None,
                    "min_border_right": 24,
                },
                "Axis": {
                    **axis,
                    **labels,
                    **ticks,
                    "axis_label_text_font_style": "normal",
                    "axis_label_text_font_size": "13px",
                    "major_label_text_font_size": "12px",
                },
                "Grid": {"grid_line_color": self.grid},
                "Legend": {
                    "background_fill_color": self.page,
                    "border_line_color": None,
                    "label_text_color": self.text,
                    "label_text_font": _FONT,
                    "label_text_font_size": "12px",
                    "orientation": "horizontal",
                    "spacing": 18,
                    "label_standoff": 6,
                    "padding": 0,
                    "margin": 4,
                },
            }
        }


_FONT = "system-ui, sans-serif"
LIGHT = Look(
    "light",
    page="#ffffff",
    text="#1f2328",
    quiet="#59636e",
    grid="#e4e7eb",
    success="#1a7f37",
    running="#0969da",
    failed="#cf222e",
    stopped="#6e7781",
    waiting="#9a6700",
    lines=("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#0f766e", "#7d4e00", "#59636e"),
)
DARK = Look(
    "dark",
    page="#212121",
    text="#e6e6e6",
    quiet="#a3a9b0",
    grid="#3a3a3a",
    success="#3fb950",
    running="#58a6ff",
    failed="#ff7b72",
    stopped="#a3a9b0",
    waiting="#d29922",
    lines=("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba", "#2dd4bf", "#d29922", "#a3a9b0"),
)


def look_of(theme: str) -> Look:
    """Return the look of a theme's name; light for one that is not known."""
    return DARK if theme == "dark" else LIGHT
