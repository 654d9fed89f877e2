"""Lists of records that show themselves as tables: what ``get_tasks`` and its like return."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from funcx_lab.looks import LOOKS, Table, clock, when
from funcx_lab.protocol.states import FINAL_STATES

#: As text, so many rows are shown; the rest is counted.
TEXT_ROWS = 60
#: As HTML, which a notebook keeps in its file, so many.
HTML_ROWS = 1000


class Records(list[dict[str, Any]]):
    """A list of dictionaries, shown as a table.

    Attributes
    ----------
    caption : str
        What they are.
    columns : tuple of str
        The table's headings.
    """

    caption: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @staticmethod
    def row(record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what the table shows of one record."""
        raise NotImplementedError

    def table(self, limit: int | None = None) -> Table:
        """Return the table, of the first ``limit`` records only if that is given."""
        cut = limit is not None and len(self) > limit
        caption = f"{self.caption} (the first {limit:,} of {len(self):,})" if cut else self.caption
        return Table(caption, self.columns, map(self.row, self[:limit]))

    def __repr__(self) -> str:
        more = len(self) - TEXT_ROWS
        return repr(self.table(TEXT_ROWS)) + (f"\n... and {more} more" if more > 0 else "")

    def _repr_html_(self) -> str:
        return self.table(HTML_ROWS)._repr_html_()


class TaskList(Records):
    """Tasks."""

    caption = "Tasks"
    columns = ("received", "state", "endpoint", "took", "label", "task")

    @staticmethod
    def row(record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what the table shows of one task."""
        started, ended = record.get("started"), record.get("ended")
        state = str(record.get("state") or "")
        end = ended if state in FINAL_STATES and ended else time.time()
        return (
            when(record.get("received")),
            f"{LOOKS[state][0]} {state}" if state in LOOKS else state,
            record.get("endpoint_name"),
            clock(end - started) if started else "",
            record.get("label") or record.get("function_name"),
            record.get("task_id"),
        )


class EndpointList(Records):
    """Endpoints."""

    caption = "Endpoints"
    columns = ("name", "state", "reason", "id")

    @staticmethod
    def row(record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what the table shows of one endpoint."""
        return tuple(record.get(key) for key in ("name", "state", "reason", "endpoint_id"))


class FunctionList(Records):
    """Registered functions."""

    caption = "Functions"
    columns = ("name", "registered", "description", "id")

    @staticmethod
    def row(record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what the table shows of one function."""
        described = (record.get("meta") or {}).get("description")
        return (
            record.get("function_name"),
            when(record.get("created")),
            described,
            record.get("function_uuid"),
        )
