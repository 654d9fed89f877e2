"""Task stream: when each task ran, where, for how long, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.models import FactorRange, Range1d

from funcx_lab_hub_service.dashboards.component import (
    ROWS_LIMIT,
    Component,
    Row,
    bar_height,
    hover,
    legend_above,
    move,
    plot,
    put,
    seconds,
    time_axis,
)
from funcx_lab_hub_service.dashboards.look import HATCHES

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.sampler import View
    from funcx_lab_hub_service.store.recent import RecentTask

#: Runs that are drawn, workers that have a line, and the longest time that is shown, in seconds.
_RUNS, _WORKERS, _SPAN_S = 500, 40, 3600.0
#: A run is drawn so wide at least, as a part of the time shown, and the axis is so long at least.
_THINNEST, _SHORTEST_S = 1 / 500, 5.0


class TaskStream(Component):
    """A bar for each run, on the line of its worker."""

    name = "tasks"
    about = "When each task ran, on which worker, for how long, and how it ended."
    nothing = "No task has run yet. Send one with %%funcx or an Executor, and it appears here."
    caption = "Newest tasks: where and when they ran, and how they ended"
    headers = ("Task", "State", "Endpoint", "Worker", "Began", "Ran for", "Waited")

    def columns(self) -> dict[str, list[Any]]:
        """Return the empty columns of the source."""
        names = ("left", "right", "worker", "state", "color", "hatch", "task", "took", "began", "endpoint")
        return {name: [] for name in names}

    def draw(self) -> Any:
        """Return the plot of the source."""
        self._time, self._workers = Range1d(start=0, end=1000), FactorRange()
        shown = plot("time of day", "worker", x_range=self._time, y_range=self._workers)
        self._bars = bars = shown.hbar(
            y="worker",
            left="left",
            right="right",
            height=bar_height(1),
            source=self.source,
            fill_color="color",
            fill_alpha=0.85,
            line_color="color",
            hatch_pattern="hatch",
            hatch_color=self.look.page,
            hatch_alpha=0.7,
            hatch_scale=8,
            legend_field="state",
        )
        lines = [
            ("", "@task"),
            ("state", "@state"),
            ("ran for", "@took"),
            ("began", "@began"),
            ("on", "@endpoint"),
        ]
        shown.add_tools(hover(lines, [bars]))
        shown.ygrid.grid_line_color = None
        time_axis(shown)
        legend_above(shown)
        return shown

    def update(self, view: View) -> None:
        """Show the newest runs."""
        ran = [task for task in view.ended if task.started is not None][-_RUNS:] + view.running
        newest = max((_end(task, view.now) for task in ran), default=view.now)
        ran = [task for task in ran if _end(task, view.now) > newest - _SPAN_S]
        workers = _newest_workers(ran, view.now)
        ran = [task for task in ran if _worker(task) in workers]
        start = min((task.started or view.now for task in ran), default=view.now - _SHORTEST_S)
        start = min(max(start, newest - _SPAN_S), newest - _SHORTEST_S)
        thinnest = (newest - start) * _THINNEST
        if list(self._workers.factors) != workers:
            self._workers.factors = workers
            self._bars.glyph.height = bar_height(len(workers) + 1)
        move(self._time, view.at(start - 5 * thinnest), view.at(newest + 5 * thinnest))
        ran.sort(key=lambda task: task.code != "")  # what failed lies on top
        bars = [self._bar(task, view, thinnest) for task in ran]
        put(self.source, {name: [bar[name] for bar in bars] for name in self.columns()})

    def _bar(self, task: RecentTask, view: View, thinnest: float) -> dict[str, Any]:
        began, end, state = task.started or view.now, _end(task, view.now), str(task.state)
        return {
            "left": view.at(began),
            "right": view.at(max(end, began + thinnest)),
            "worker": _worker(task),
            "state": state,
            "color": self.look.of(state),
            "hatch": HATCHES.get(state, " "),
            "task": f"{task.name} …{task.task_id[-8:]}",
            "took": seconds(end - began) + (f" ({task.code})" if task.code else ""),
            "began": view.clock(began),
            "endpoint": task.endpoint_name,
        }

    def rows(self, view: View) -> list[Row]:
        """Return the newest tasks, newest first."""
        newest = [*view.running, *reversed(view.ended)][:ROWS_LIMIT]
        return [
            (
                f"{task.name} …{task.task_id[-8:]}",
                str(task.state) + (f" ({task.code})" if task.code else ""),
                task.endpoint_name,
                _worker(task) if task.worker else "–",
                view.clock(task.started) if task.started else "never",
                seconds(max(0.0, _end(task, view.now) - task.started)) if task.started else "–",
                seconds(max(0.0, (task.started or _end(task, view.now)) - task.received)),
            )
            for task in newest
        ]


def _end(task: RecentTask, now: float) -> float:
    if not task.state.is_final:
        return max(now, task.started or now)
    return max(task.ended or task.received, task.started or 0.0)


def _newest_workers(ran: list[RecentTask], now: float) -> list[str]:
    """Return the lines for the workers that were busy last, in the order of their names."""
    last: dict[str, float] = {}
    for task in ran:
        worker = _worker(task)
        last[worker] = max(last.get(worker, 0.0), _end(task, now))
    newest = sorted(last, key=lambda worker: last[worker])[-_WORKERS:]
    return sorted(newest, reverse=True)


def _worker(task: RecentTask) -> str:
    """Return what a worker's line is called: an endpoint says of its workers what it likes."""
    facts = task.worker
    place = ":".join(str(facts[key])[:24] for key in ("host", "pid") if facts.get(key))
    return f"{task.endpoint_name} {place}".strip()
