"""What every dashboard is: a source, a root, an update; and a table that says the same in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bokeh.models import (
    ColumnDataSource,
    DatetimeTickFormatter,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.look import Look
    from funcx_lab_hub_service.dashboards.sampler import View

#: Rows of a table twin.
ROWS_LIMIT = 200
#: The columns of a table, by header.
Row = Sequence[str]


class Component(ABC):
    """One dashboard.

    Parameters
    ----------
    look : Look
        Its colours.

    Attributes
    ----------
    source : ColumnDataSource
        What the plot shows.
    root : bokeh.models.UIElement
        The plot.
    """

    #: the last part of its address, as in the catalogue
    name: ClassVar[str]
    #: one sentence about what is shown, and one for when there is nothing
    about: ClassVar[str]
    nothing: ClassVar[str]
    #: of the table twin
    caption: ClassVar[str]
    headers: ClassVar[tuple[str, ...]]

    def __init__(self, look: Look) -> None:
        self.look = look
        self.source = ColumnDataSource(self.columns())
        self.root = self.draw()

    @abstractmethod
    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""

    @abstractmethod
    def draw(self) -> Any:
        """Return the plot of the source."""

    @abstractmethod
    def update(self, view: View) -> None:
        """Show what ``view`` sees."""

    @abstractmethod
    def rows(self, view: View) -> list[Row]:
        """Return the table twin's rows."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not len(next(iter(self.source.data.values())))


def put(source: ColumnDataSource, data: dict[str, list[Any]]) -> None:
    """Give a source new data, unless it is what it has: nothing is sent then."""
    if dict(source.data) != data:
        source.data = data


def move(axis: Range1d, start: float, end: float) -> None:
    """Move a range, unless it is there."""
    if axis.start != start or axis.end != end:
        axis.update(start=start, end=end)


def plot(x_label: str, y_label: str, **options: Any) -> Any:
    """Return an empty figure in the house style; a label is a quantity with its unit."""
    shown = figure(
        x_axis_label=x_label,
        y_axis_label=y_label,
        sizing_mode="stretch_both",
        min_height=options.pop("min_height", 160),
        tools="",
        **options,
    )
    shown.xgrid.grid_line_color = None
    shown.toolbar.logo = None
    return shown


def time_axis(shown: Any) -> None:
    """Let the horizontal axis show the viewer's time of day."""
    formats: dict[str, Any] = dict.fromkeys(("microseconds", "milliseconds"), "%H:%M:%S.%3N")
    # Ticks of minutes may stand at 100 seconds.
    formats |= dict.fromkeys(("seconds", "minsec", "minutes", "hourmin"), "%H:%M:%S")
    shown.xaxis.formatter = DatetimeTickFormatter(
        **formats, hours="%H:%M", days="%d %b", months="%d %b", years="%Y"
    )
    shown.xaxis.ticker.desired_num_ticks = 4


def hover(lines: Sequence[tuple[str, str]], renderers: Any, **options: Any) -> HoverTool:
    """Return a tool that tells more of what is pointed at; values are escaped by Bokeh."""
    return HoverTool(tooltips=list(lines), renderers=list(renderers), **options)


def legend_above(shown: Any) -> None:
    """Move the legend out of the plot, small enough for a pane."""
    for legend in list(shown.legend):
        legend.update(
            label_text_font_size="11px", glyph_width=14, glyph_height=14, spacing=8, margin=4, padding=4
        )
        shown.add_layout(legend, "above")


def bar_height(count: int) -> float:
    """Return how high each of ``count`` bars is, as a part of its line: one alone must not fill the plot."""
    return min(0.7, 0.15 + 0.12 * count)


def whole_numbers(shown: Any, axis: str) -> None:
    """Let an axis that counts things show whole numbers only."""
    for each in getattr(shown, axis):
        each.ticker.min_interval = 1
        each.formatter.use_scientific = False


def seconds(value: float | None) -> str:
    """Return a duration for people: ``"3.2 ms"``, ``"1.45 s"``, ``"12 min"``."""
    if value is None:
        return "–"
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: float) -> str:
    """Return bytes for people: ``"12 B"``, ``"3.4 MB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
