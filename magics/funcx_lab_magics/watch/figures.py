"""The Bokeh figures of a watch, as JSON that a page can draw; their data comes later."""

from __future__ import annotations

from functools import cache
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

from funcx_lab.looks import LOOKS
from funcx_lab.protocol.states import FINAL_STATES
from funcx_lab_magics.watch.board import STATES
from funcx_lab_magics.watch.columns import COLOURS

#: Pixels.
HEIGHT = 260
#: The page finds a figure's source by this name, and a legend's entry by its state.
ROWS = "rows"
#: What has ended is at the bottom, so it is seen to rise.
STACK = [state for state in STATES if state in FINAL_STATES] + [
    state for state in reversed(STATES) if state not in FINAL_STATES
]
_TOOLS = "xpan,xwheel_zoom,box_zoom,reset,save"
#: A bar's tooltip. Bokeh's own is white: this covers it, in the colours of the page.
_TOOLTIP = (
    '<div style="margin:-6px -12px;padding:6px 12px;border-radius:4px;'
    'background:var(--jp-layout-color2,Canvas);color:var(--jp-ui-font-color1,CanvasText)">'
    "<strong>@name</strong> @task<br>@state · @took<br>@place</div>"
)


@cache
def items() -> dict[str, Any]:
    """Return each view's figure by its name."""
    return {
        name: json_item(make())
        for name, make in {"progress": _progress, "stream": _stream, "endpoints": _endpoints}.items()
    }


def _progress() -> Any:
    plot = _plot(x_axis_label="seconds since watching began", y_axis_label="tasks")
    # Not varea_stack: its expressions keep an old result now and then, which ends the drawing.
    source = ColumnDataSource(name=ROWS, data={"time": [], **_edges()})
    drawn = [
        plot.varea(x="time", y1=f"{state} low", y2=f"{state} high", color=COLOURS[state], source=source)
        for state in STACK
    ]
    _add_legend(plot, drawn)
    plot.y_range.start = 0
    return plot


def _stream() -> Any:
    plot = _plot(x_axis_label="seconds since watching began", y_axis_label="at the same time")
    names = ("lane", "begin", "end", "colour", "state", "name", "task", "place", "took")
    source = ColumnDataSource(name=ROWS, data={name: [] for name in names})
    bars = plot.hbar(
        y="lane",
        left="begin",
        right="end",
        height=0.8,
        color="colour",
        line_color=None,
        legend_field="state",
        source=source,
    )
    plot.add_tools(
        HoverTool(tooltips=_TOOLTIP, renderers=[bars], point_policy="follow_mouse", show_arrow=False)
    )
    legend = plot.legend[0]
    plot.center.remove(legend)
    _place(plot, legend)
    plot.yaxis.minor_tick_line_color = None
    plot.yaxis.ticker.desired_num_ticks = 4
    plot.yaxis.ticker.min_interval = 1
    return plot


def _endpoints() -> Any:
    plot = _plot(y_range=["?"], x_axis_label="tasks")
    source = ColumnDataSource(name=ROWS, data={"endpoint": [], **_edges()})
    drawn = [
        plot.hbar(
            y="endpoint",
            left=f"{state} low",
            right=f"{state} high",
            height=0.6,
            color=COLOURS[state],
            line_color=None,
            source=source,
        )
        for state in STACK
    ]
    _add_legend(plot, drawn)
    plot.x_range.start = 0
    return plot


def _edges() -> dict[str, list[float]]:
    """Return the columns that the page adds to the counts: where a state's part of the stack is."""
    return {f"{state} {edge}": [] for state in STACK for edge in ("low", "high")}


def _plot(**settings: Any) -> Any:
    plot = figure(
        height=HEIGHT, sizing_mode="stretch_width", tools=_TOOLS, toolbar_location="right", **settings
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    return plot


def _add_legend(plot: Any, drawn: list[Any]) -> None:
    entries = [
        LegendItem(label=LOOKS[state][1], renderers=[glyphs], name=state)
        for state, glyphs in zip(STACK, drawn, strict=True)
    ]
    _place(plot, Legend(items=entries))


def _place(plot: Any, legend: Any) -> None:
    """Put a legend above the plot, in one line, without a box."""
    legend.orientation = "horizontal"
    legend.border_line_color = None
    legend.background_fill_color = None
    legend.padding = 0
    legend.spacing = 12
    plot.add_layout(legend, "above")
