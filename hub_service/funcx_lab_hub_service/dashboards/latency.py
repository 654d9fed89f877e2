"""Latency: in which stage of a call the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.models import FactorRange, Range1d

from funcx_lab_hub_service.dashboards.component import (
    Component,
    Row,
    hover,
    legend_above,
    move,
    plot,
    put,
    seconds,
)
from funcx_lab_hub_service.dashboards.timings import STAGES

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View

_WHOLE = "whole call"
#: The axis begins here, in milliseconds; what is less is shown there.
_LEAST_MS = 0.01
#: Milliseconds in the words of people.
_TICKS = {
    **{0.01: "10 µs", 0.1: "100 µs", 1.0: "1 ms", 10.0: "10 ms", 100.0: "100 ms"},
    **{1e3: "1 s", 1e4: "10 s", 6e4: "1 min", 6e5: "10 min", 3.6e6: "1 h", 3.6e7: "10 h"},
}


class Latency(Component):
    """A median and a slow case for each stage, on one logarithmic axis."""

    name = "latency"
    about = (
        "Where the time of a call goes: the median (●) and the slowest of twenty (◆) of the newest calls "
        "that were timed, one of each message."
    )
    nothing = "No call has been timed since the service started. The first that ends appears here."
    caption = "Seconds that calls spend in each stage"
    headers = ("Stage", "What it is", "Median", "95 of 100 are faster than", "Calls")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        return {name: [] for name in ("stage", "median", "slow", "median_told", "slow_told", "what")}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._range = Range1d(start=_LEAST_MS, end=1000)
        stages = FactorRange(factors=[_WHOLE, *reversed(STAGES)])
        shown = plot("time (logarithmic)", "stage", x_axis_type="log", x_range=self._range, y_range=stages)
        colors = self.look.lines
        shown.segment(
            "median", "stage", "slow", "stage", source=self.source, color=self.look.quiet, line_width=3
        )
        medians = shown.scatter(
            *("median", "stage"),
            marker="circle",
            size=14,
            source=self.source,
            color=colors[0],
            legend_label="median",
        )
        slow = shown.scatter(
            *("slow", "stage"),
            marker="diamond",
            size=17,
            source=self.source,
            color=colors[1],
            legend_label="slowest of twenty",
        )
        lines = [("", "@stage: @what"), ("median", "@median_told"), ("slowest of twenty", "@slow_told")]
        shown.add_tools(hover(lines, [medians, slow]))
        shown.xgrid.grid_line_color = self.look.grid
        shown.xaxis.ticker = list(_TICKS)
        shown.xaxis.major_label_overrides = _TICKS
        legend_above(shown)
        return shown

    def update(self, view: View) -> None:
        """Show the newest calls."""
        stages = _stages(view)
        columns: dict[str, list[Any]] = {
            "stage": [stage for stage, _ in stages],
            "median": [_shown(part(times, 0.5)) for _, times in stages],
            "slow": [_shown(part(times, 0.95)) for _, times in stages],
            "median_told": [seconds(part(times, 0.5)) for _, times in stages],
            "slow_told": [seconds(part(times, 0.95)) for _, times in stages],
            "what": [STAGES.get(stage, "from the client to the client") for stage, _ in stages],
        }
        move(self._range, _LEAST_MS, 2 * max([500.0, *columns["slow"]]))
        put(self.source, columns)

    def rows(self, view: View) -> list[Row]:
        """Return each stage's numbers."""
        return [
            (
                stage,
                STAGES.get(stage, "from the client to the client"),
                seconds(part(times, 0.5)),
                seconds(part(times, 0.95)),
                str(len(times)),
            )
            for stage, times in _stages(view)
        ]


def _stages(view: View) -> list[tuple[str, list[float]]]:
    """Return each stage and the whole, with the seconds that the newest calls spent there, sorted."""
    timed = view.timed
    if not timed:
        return []
    parts = [(stage, sorted(call.stages[n] for call in timed)) for n, stage in enumerate(STAGES)]
    return [*parts, (_WHOLE, sorted(call.total for call in timed))]


def part(times: list[float], share: float) -> float:
    """Return the time that ``share`` of the sorted ``times`` do not exceed."""
    return times[min(len(times) - 1, int(share * len(times)))]


def _shown(value: float) -> float:
    return max(_LEAST_MS, 1000 * value)
