"""Bytes moved: arguments to the endpoints, results back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.models import Range1d

from funcx_lab_hub_service.dashboards.component import (
    ROWS_LIMIT,
    Component,
    Row,
    hover,
    legend_above,
    move,
    plot,
    put,
    size,
    time_axis,
)
from funcx_lab_hub_service.dashboards.tallies import STEP_S
from funcx_lab_hub_service.dashboards.throughput import SPAN_S, move_time

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View


#: What the axis counts, by bytes of one unit.
_LABELS = {10**n: f"data ({unit} per second)" for n, unit in ((0, "B"), (3, "kB"), (6, "MB"), (9, "GB"))}


class BytesMoved(Component):
    """Two bars for every five seconds, side by side."""

    name = "bytes"
    about = "Bytes of arguments and results of the tasks that ended, per second, over the last 15 minutes."
    nothing = "No task has ended in the last 15 minutes."
    caption = "Bytes of the tasks that ended, by step of five seconds, newest first"
    headers = ("From", "Arguments", "Results", "Both, per second")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        names = ("before", "after", "sent", "returned", "sent_told", "returned_told", "from")
        return {name: [] for name in names}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._time, self._rate = Range1d(start=0, end=1000), Range1d(start=0, end=1)
        shown = plot("time of day", _LABELS[1], x_range=self._time, y_range=self._rate)
        options = {"width": STEP_S * 400, "source": self.source, "fill_alpha": 0.85}
        sent = shown.vbar(
            x="before", top="sent", color=self.look.lines[0], legend_label="arguments", **options
        )
        returned = shown.vbar(
            x="after",
            top="returned",
            color=self.look.lines[1],
            legend_label="results",
            hatch_pattern="right_diagonal_line",
            hatch_color=self.look.page,
            hatch_alpha=0.7,
            hatch_scale=6,
            **options,
        )
        lines = [("", "@from"), ("arguments", "@sent_told"), ("results", "@returned_told")]
        shown.add_tools(hover(lines, [sent, returned]))
        self._axis = shown.yaxis[0]
        self._axis.formatter.use_scientific = False
        time_axis(shown)
        legend_above(shown)
        return shown

    def update(self, view: View) -> None:
        """Show the last minutes."""
        tallies = view.tallies(SPAN_S)
        highest = max([100.0, *(max(tally.sent, tally.returned) / STEP_S for tally in tallies)])
        unit = max(unit for unit in _LABELS if unit == 1 or highest >= unit)
        sent = [tally.sent / STEP_S / unit for tally in tallies]
        returned = [tally.returned / STEP_S / unit for tally in tallies]
        put(
            self.source,
            {
                "before": [view.at(tally.start + 0.28 * STEP_S) for tally in tallies],
                "after": [view.at(tally.start + 0.72 * STEP_S) for tally in tallies],
                "sent": sent,
                "returned": returned,
                "sent_told": [f"{size(each * unit)}/s" for each in sent],
                "returned_told": [f"{size(each * unit)}/s" for each in returned],
                "from": [view.clock(tally.start) for tally in tallies],
            },
        )
        self._axis.axis_label = _LABELS[unit]
        move(self._rate, 0, highest / unit * 1.15)
        move_time(self._time, view, tallies[0].start if tallies else view.now)

    def rows(self, view: View) -> list[Row]:
        """Return the steps, newest first."""
        return [
            (
                view.clock(tally.start),
                size(tally.sent),
                size(tally.returned),
                f"{size((tally.sent + tally.returned) / STEP_S)}/s",
            )
            for tally in reversed(view.tallies(SPAN_S)[-ROWS_LIMIT:])
        ]
