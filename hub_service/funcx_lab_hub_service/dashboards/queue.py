"""Queue: how many tasks wait and run at each endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.models import FactorRange, Range1d

from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.dashboards.component import (
    Component,
    Row,
    bar_height,
    hover,
    legend_above,
    move,
    plot,
    put,
    whole_numbers,
)

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View

#: States in the order of their bars: column, words, hatch.
_STATES = {
    TaskState.RUNNING: ("running", "running", " "),
    TaskState.WAITING_FOR_LAUNCH: ("launch", "awaits worker", "right_diagonal_line"),
    TaskState.WAITING_FOR_NODES: ("nodes", "awaits nodes", "cross"),
    TaskState.WAITING_FOR_EP: ("endpoint", "awaits endpoint", "dot"),
}
_ENDPOINTS = 30


class Queue(Component):
    """A bar for each endpoint."""

    name = "queue"
    about = "Your tasks that wait and run now, by endpoint."
    nothing = "No task of yours waits or runs now."
    caption = "Tasks that wait and run now, by endpoint"
    headers = ("Endpoint", *(words.capitalize() for _, words, _ in _STATES.values()), "All")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        return {name: [] for name in ("name", *(column for column, _, _ in _STATES.values()), "all")}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._names, self._tasks = FactorRange(), Range1d(start=0, end=10)
        shown = plot("tasks (count)", "endpoint", x_range=self._tasks, y_range=self._names)
        colors = (self.look.running, self.look.waiting, self.look.lines[3], self.look.stopped)
        self._bars = bars = shown.hbar_stack(
            [column for column, _, _ in _STATES.values()],
            y="name",
            height=bar_height(1),
            source=self.source,
            color=colors,
            fill_alpha=0.85,
            legend_label=[words for _, words, _ in _STATES.values()],
            hatch_pattern=[hatch for _, _, hatch in _STATES.values()],
            hatch_color=self.look.page,
            hatch_alpha=0.7,
            hatch_scale=8,
        )
        shown.add_tools(
            hover([("", "@name"), *((words, f"@{column}") for column, words, _ in _STATES.values())], bars)
        )
        shown.ygrid.grid_line_color = None
        shown.xgrid.grid_line_color = self.look.grid
        whole_numbers(shown, "xaxis")
        legend_above(shown)
        return shown

    def update(self, view: View) -> None:
        """Show what waits and runs now."""
        counts = self._counts(view)
        columns: dict[str, list[Any]] = self.columns()
        for name, states in counts:
            columns["name"].append(name)
            for state, (column, _, _) in _STATES.items():
                columns[column].append(states.get(state, 0))
            columns["all"].append(sum(states.values()))
        factors = list(reversed(columns["name"]))
        if list(self._names.factors) != factors:
            self._names.factors = factors
            for bar in self._bars:
                bar.glyph.height = bar_height(len(factors))
        move(self._tasks, 0, max([*columns["all"], 4]) * 1.1)
        put(self.source, columns)

    def _counts(self, view: View) -> list[tuple[str, dict[TaskState, int]]]:
        """Return each endpoint's name and tasks by shown state, the busiest first."""
        names, queues = view.endpoints, view.queues
        every = {**dict.fromkeys(names, None), **dict.fromkeys(queues, None)}
        counts = [(names.get(key, f"…{key[-8:]}"), _told(queues.get(key, {}))) for key in every]
        return sorted(counts, key=lambda count: (-sum(count[1].values()), count[0]))[:_ENDPOINTS]

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or runs."""
        return not any(self.source.data["all"])

    def rows(self, view: View) -> list[Row]:
        """Return each endpoint's numbers."""
        return [
            (name, *(f"{states.get(state, 0):,}" for state in _STATES), f"{sum(states.values()):,}")
            for name, states in self._counts(view)
        ]


def _told(states: dict[TaskState, int]) -> dict[TaskState, int]:
    """Return the counts with what was just received among those that wait for the endpoint."""
    told = {state: states.get(state, 0) for state in _STATES}
    told[TaskState.WAITING_FOR_EP] += sum(n for state, n in states.items() if state not in _STATES)
    return told
