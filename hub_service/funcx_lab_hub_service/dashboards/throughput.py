"""Throughput: how many tasks end each second, and how."""

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
    time_axis,
)
from funcx_lab_hub_service.dashboards.tallies import STEP_S

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View

#: The longest time that is shown, in seconds.
SPAN_S = 900.0
_ENDS = {"succeeded": "success", "failed": "failed", "stopped": "cancelled or expired"}


class Throughput(Component):
    """A bar for every five seconds."""

    name = "throughput"
    about = "Tasks that ended each second, in steps of five seconds, over the last 15 minutes."
    nothing = "No task has ended in the last 15 minutes."
    caption = "Tasks that ended, by step of five seconds, newest first"
    headers = ("From", "Succeeded", "Failed", "Cancelled or expired", "Tasks per second")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        return {name: [] for name in ("time", *_ENDS, "from")}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._time, self._rate = Range1d(start=0, end=1000), Range1d(start=0, end=1)
        shown = plot("time of day", "tasks ended (per second)", x_range=self._time, y_range=self._rate)
        bars = shown.vbar_stack(
            list(_ENDS),
            x="time",
            width=STEP_S * 850,
            source=self.source,
            color=(self.look.success, self.look.failed, self.look.stopped),
            fill_alpha=0.85,
            legend_label=list(_ENDS.values()),
            hatch_pattern=[" ", "cross", "dot"],
            hatch_color=self.look.page,
            hatch_alpha=0.7,
            hatch_scale=6,
        )
        shown.add_tools(
            hover([("", "@from"), *((words, f"@{name}{{0.0}}/s") for name, words in _ENDS.items())], bars)
        )
        shown.yaxis.formatter.use_scientific = False
        time_axis(shown)
        legend_above(shown)
        return shown

    def update(self, view: View) -> None:
        """Show the last minutes."""
        tallies = view.tallies(SPAN_S)
        rates = {name: [getattr(tally, name) / STEP_S for tally in tallies] for name in _ENDS}
        highest = max((sum(each) for each in zip(*rates.values(), strict=True)), default=0.0)
        put(
            self.source,
            {
                "time": [view.at(tally.start + STEP_S / 2) for tally in tallies],
                **rates,
                "from": [view.clock(tally.start) for tally in tallies],
            },
        )
        move(self._rate, 0, max(1.0, highest * 1.15))
        move_time(self._time, view, tallies[0].start if tallies else view.now)

    def rows(self, view: View) -> list[Row]:
        """Return the steps, newest first."""
        return [
            (
                view.clock(tally.start),
                f"{tally.succeeded:,}",
                f"{tally.failed:,}",
                f"{tally.stopped:,}",
                f"{(tally.succeeded + tally.failed + tally.stopped) / STEP_S:,.1f}",
            )
            for tally in reversed(view.tallies(SPAN_S)[-ROWS_LIMIT:])
        ]


def move_time(axis: Range1d, view: View, first: float) -> None:
    """Let an axis end now, and begin a minute ago or at ``first`` (Unix seconds) if that is earlier."""
    now = int(view.now) // STEP_S * STEP_S + STEP_S
    start = max(now - SPAN_S, min(first - STEP_S, now - 60.0))
    move(axis, view.at(start), view.at(now))
