"""Scaling: blocks, nodes and workers over time, and the reason for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.annotations import Legend, LegendItem

from funcx_lab_hub_service.dashboards.component import (
    ROWS_LIMIT,
    Component,
    Row,
    hover,
    move,
    plot,
    put,
    time_axis,
    whole_numbers,
)

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View

#: The longest time that is shown, in seconds, and the shortest.
_SPAN_S, _SHORTEST_S = 6 * 3600.0, 120.0
#: Endpoints that have lines, and how these differ beside their colour.
_ENDPOINTS = 6
_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "solid")
_MARKERS = {"out": "triangle", "up": "circle", "in": "inverted_triangle", "away": "x"}
_WORDS = {"out": "more asked for", "up": "up", "in": "fewer", "away": "away"}
_QUANTITIES = ("blocks", "nodes", "workers")


class Scaling(Component):
    """Three plots with one time axis; a mark for every step."""

    name = "scaling"
    about = (
        "How many blocks, nodes and workers your endpoints have; thin lines are busy workers. "
        "▲ more asked for, ● up, ▼ released, ✕ away: point at one, or see the table, for the reason."
    )
    nothing = "No endpoint has been here since the service started. Start one with funcx-endpoint start."
    caption = "Steps of scaling, newest first, with the reason for each"
    headers = ("When", "Endpoint", "Step", "What", "Reason")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        return {
            name: [] for name in ("time", "count", "color", "marker", "what", "reason", "when", "endpoint")
        }

    def draw(self) -> Any:
        """Return the plots."""
        self._time = Range1d(start=0, end=1000)
        self._tops = {quantity: Range1d(start=0, end=1.2) for quantity in _QUANTITIES}
        self._lines = [
            ColumnDataSource({name: [] for name in ("time", *_QUANTITIES, "busy", "endpoint")})
            for _ in range(_ENDPOINTS)
        ]
        self._items: list[LegendItem] = []
        plots = [self._draw_one(quantity) for quantity in _QUANTITIES]
        for upper in plots[:-1]:
            upper.xaxis.visible = False
        marks = plots[0].scatter(
            "time",
            "count",
            marker="marker",
            size=11,
            source=self.source,
            fill_color="color",
            line_color=self.look.page,
        )
        lines = [("", "@what"), ("why", "@reason"), ("when", "@when"), ("endpoint", "@endpoint")]
        plots[0].add_layout(Legend(items=self._items), "above")
        plots[0].add_tools(hover(lines, [marks]))
        return column(*plots, sizing_mode="stretch_both", spacing=4)

    def _draw_one(self, quantity: str) -> Any:
        is_last = quantity == _QUANTITIES[-1]
        shown = plot(
            "time of day" if is_last else "",
            quantity,
            x_range=self._time,
            y_range=self._tops[quantity],
            min_height=100 if is_last else 64,
            min_border_left=64,
        )
        for source, color, dash in zip(self._lines, self.look.lines, _DASHES, strict=False):
            options = {"source": source, "color": color, "line_dash": dash, "mode": "after"}
            line = shown.step("time", quantity, line_width=2.5, **options)
            if quantity == _QUANTITIES[0]:
                self._items.append(LegendItem(label=value(""), renderers=[line], visible=False))
            if is_last:
                shown.step("time", "busy", line_width=1, **options)
        whole_numbers(shown, "yaxis")
        time_axis(shown)
        return shown

    def update(self, view: View) -> None:
        """Show the endpoints that were heard last."""
        chosen = self._chosen(view)
        marks: dict[str, list[Any]] = self.columns()
        start = view.now - _SHORTEST_S
        highest = dict.fromkeys(_QUANTITIES, 1)
        for number, source in enumerate(self._lines):
            endpoint_id, name = chosen[number] if number < len(chosen) else ("", "")
            sizes = view.sizes(endpoint_id, _SPAN_S) if endpoint_id else []
            self._name(number, name)
            points = [(size.time, size.blocks, size.nodes, size.workers, size.busy) for size in sizes]
            points += [(view.now, *points[-1][1:])] if points else []
            times, *numbers = zip(*points, strict=True) if points else ((),) * 5
            for quantity, values in zip(_QUANTITIES, numbers, strict=False):
                highest[quantity] = max([highest[quantity], *values])
            start = min([start, *times])
            lines = dict(zip((*_QUANTITIES, "busy"), map(list, numbers), strict=True))
            put(source, {"time": [view.at(each) for each in times], **lines, "endpoint": [name] * len(times)})
            self._mark(marks, view, endpoint_id, name, self.look.lines[number], points)
        put(self.source, marks)
        for quantity, top in self._tops.items():
            move(top, 0, highest[quantity] * 1.25)
        move(self._time, view.at(max(start, view.now - _SPAN_S)), view.at(view.now))

    def _name(self, number: int, name: str) -> None:
        """Name a line in the legend; one without an endpoint is not there."""
        item = self._items[number]
        if item.visible != bool(name) or item.label != value(name):
            item.update(label=value(name), visible=bool(name))

    @staticmethod
    def _mark(
        marks: dict[str, list[Any]], view: View, endpoint_id: str, name: str, color: str, points: list[Any]
    ) -> None:
        for step in view.steps(endpoint_id, _SPAN_S) if endpoint_id else []:
            blocks = next((blocks for time, blocks, *_ in reversed(points) if time <= step.time), 0)
            mark = (view.at(step.time), blocks, color, _MARKERS[step.change], step.what, step.reason or "–")
            for key, fact in zip(marks, (*mark, view.clock(step.time), name), strict=True):
                marks[key].append(fact)

    @staticmethod
    def _chosen(view: View) -> list[tuple[str, str]]:
        """Return the endpoints with lines: those that were heard last."""
        heard = [
            (sizes[-1].time, key, name)
            for key, name in view.endpoints.items()
            if (sizes := view.sizes(key, 0))
        ]
        return [(key, name) for _, key, name in sorted(heard, reverse=True)[:_ENDPOINTS]]

    def rows(self, view: View) -> list[Row]:
        """Return the steps, newest first."""
        steps = [(step, name) for key, name in view.endpoints.items() for step in view.steps(key, _SPAN_S)]
        steps.sort(key=lambda each: -each[0].time)
        return [
            (view.clock(step.time), name, _WORDS[step.change], step.what, step.reason or "–")
            for step, name in steps[:ROWS_LIMIT]
        ]

    @property
    def is_empty(self) -> bool:
        """Whether no endpoint was heard."""
        return not any(len(source.data["time"]) for source in self._lines)
