"""Failures: which kinds, how often, and when last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.models import FactorRange, Range1d

from funcx_lab_hub_service.dashboards.component import (
    Component,
    Row,
    bar_height,
    hover,
    move,
    plot,
    put,
    whole_numbers,
)

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View

#: Kinds that are shown, and the time that is looked back over, in seconds.
_KINDS, _SPAN_S = 15, 3600.0


class Failures(Component):
    """A bar for each kind of failure."""

    name = "failures"
    about = "Tasks that failed in the last hour, by kind: the function's exception, or a code of ours."
    nothing = "No task has failed in the last hour."
    caption = "Failures of the last hour by kind"
    headers = ("Kind", "Tasks", "Share of all ended", "Last")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        return {name: [] for name in ("kind", "count", "told", "last")}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._kinds, self._tasks = FactorRange(), Range1d(start=0, end=4)
        shown = plot("failed tasks (count)", "kind of failure", x_range=self._tasks, y_range=self._kinds)
        self._bars = bars = shown.hbar(
            y="kind",
            right="count",
            height=bar_height(1),
            source=self.source,
            color=self.look.failed,
            fill_alpha=0.85,
            hatch_pattern="cross",
            hatch_color=self.look.page,
            hatch_alpha=0.35,
            hatch_scale=10,
        )
        shown.text(
            *("count", "kind", "told"),
            source=self.source,
            x_offset=6,
            text_baseline="middle",
            text_color=self.look.text,
            text_font_size="12px",
        )
        shown.add_tools(hover([("", "@kind"), ("tasks", "@told"), ("last", "@last")], [bars]))
        shown.ygrid.grid_line_color = None
        shown.xgrid.grid_line_color = self.look.grid
        whole_numbers(shown, "xaxis")
        return shown

    def update(self, view: View) -> None:
        """Show the last hour."""
        kinds, ended = _kinds(view)
        names = [kind for kind, _, _ in kinds]
        if list(self._kinds.factors) != names[::-1]:
            self._kinds.factors = names[::-1]
            self._bars.glyph.height = bar_height(len(names))
        move(self._tasks, 0, max([4, *(n for _, n, _ in kinds)]) * 1.4)
        put(
            self.source,
            {
                "kind": names,
                "count": [n for _, n, _ in kinds],
                "told": [f"{n:,} ({n / ended:.1%})" for _, n, _ in kinds],
                "last": [view.clock(last) for _, _, last in kinds],
            },
        )

    def rows(self, view: View) -> list[Row]:
        """Return the kinds, the most frequent first."""
        kinds, ended = _kinds(view)
        return [(kind, f"{n:,}", f"{n / ended:.1%}", view.clock(last)) for kind, n, last in kinds]


def _kinds(view: View) -> tuple[list[tuple[str, int, float]], int]:
    """Return kind, count and last time of the failures, the most frequent first, and how many tasks ended."""
    counts: dict[str, int] = {}
    last: dict[str, float] = {}
    ended = 0
    for tally in view.tallies(_SPAN_S):
        ended += tally.succeeded + tally.failed + tally.stopped
        for kind, n in tally.failures.items():
            counts[kind] = counts.get(kind, 0) + n
            last[kind] = tally.start
    most = sorted(counts, key=lambda kind: (-counts[kind], kind))[:_KINDS]
    return [(kind, counts[kind], last[kind]) for kind in most], max(1, ended)
