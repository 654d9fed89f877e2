"""One page of one user's: a component, its table twin, and whether anybody sees them."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import bokeh
from bokeh.models import ColumnDataSource
from bokeh.themes import Theme
from jinja2 import Environment

from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.dashboards.catalogue import DASHBOARDS
from funcx_lab_hub_service.dashboards.component import Row, put
from funcx_lab_hub_service.dashboards.look import look_of
from funcx_lab_hub_service.dashboards.pages import script_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bokeh.document import Document

    from funcx_lab_hub_service.dashboards.component import Component
    from funcx_lab_hub_service.dashboards.mount import Dashboards
    from funcx_lab_hub_service.dashboards.sampler import View

#: A page that is seen is updated so often, in milliseconds; for who wants less motion so often.
EVERY_MS, CALM_MS = 1000, 5000
_TEMPLATE = Environment(autoescape=True).from_string(
    (files(__package__) / "assets" / "page.html").read_text(encoding="utf-8")
)
#: What the page says of itself: seen or hidden, plot or table, motion or calm, minutes ahead of UTC.
_SAID = re.compile(r"(seen|hidden) (plot|table) (motion|calm) (-?\d{1,4})")


class Page:
    """One page.

    Parameters
    ----------
    dashboards : Dashboards
        What all pages share.
    component : type of Component
        What it shows.
    user : str
        Whose tasks.
    arguments : mapping
        The page's query: ``theme`` and ``endpoint``.
    """

    def __init__(
        self,
        dashboards: Dashboards,
        component: type[Component],
        user: str,
        arguments: Mapping[str, list[bytes]],
    ) -> None:
        self._dashboards = dashboards
        self._user = user
        self._look = look_of(_argument(arguments, "theme"))
        self._endpoint = _argument(arguments, "endpoint") or None
        self._component = component(self._look)
        #: headers and rows of the table; its tags: ``nothing`` if there is nothing to show
        self._table = ColumnDataSource({_column(n): [] for n in range(len(component.headers))}, name="table")
        #: its tags are what the page says of itself
        self._page = ColumnDataSource({}, name="page")
        self._offset_s, self._shows_table = 0.0, True
        self._updating: Any = None
        self._every_ms = 0

    def fill(self, document: Document) -> None:
        """Make the page; nothing is updated before it says that it is seen."""
        self._document = document
        view = self._view()
        self._update(view)
        document.theme = Theme(json=self._look.theme())
        document.title = f"{DASHBOARDS[self._component.name]} · funcx-lab"
        self._component.root.name = "plot"
        for root in (self._component.root, self._table, self._page):
            document.add_root(root)
        document.template = _TEMPLATE
        document.template_variables.update(self._variables(view))
        self._page.on_change("tags", lambda attr, old, new: self._said(new))

    def _variables(self, view: View) -> dict[str, Any]:
        component = self._component
        return {
            "theme": self._look.name,
            "heading": DASHBOARDS[component.name],
            "about": component.about,
            "nothing": component.nothing,
            "is_empty": component.is_empty,
            "caption": component.caption,
            "headers": component.headers,
            "rows": component.rows(view),
            "endpoint": self._endpoint or "",
            "endpoints": self._dashboards.sampler.names(view.principal),
            "bokeh_version": bokeh.__version__,
            "script_json": script_json,
        }

    def _view(self) -> View:
        principal = self._dashboards.looking.get(self._user) or Principal(self._user)
        view = self._dashboards.sampler.view(principal, self._endpoint)
        view.offset_s = self._offset_s
        return view

    # --- what the page says -------------------------------------------------------------------------

    def _said(self, tags: list[Any]) -> None:
        """Take what the page says of itself; anything else is no word of ours."""
        said = _SAID.fullmatch(str(tags[0])[:40]) if len(tags) == 1 else None
        if said is None:
            return
        seen, shown, motion, minutes = said.groups()
        self._offset_s = 60.0 * max(-900, min(900, int(minutes)))
        self._shows_table = shown == "table"
        if seen == "hidden":
            self._rest()
            return
        self._begin(CALM_MS if motion == "calm" else EVERY_MS)
        self._tick()

    def _begin(self, every_ms: int) -> None:
        if every_ms != self._every_ms:
            self._rest()
            self._updating = self._document.add_periodic_callback(self._tick, every_ms)
            self._every_ms = every_ms

    def _rest(self) -> None:
        """Do nothing for this page until it is seen."""
        if self._updating is not None:
            self._document.remove_periodic_callback(self._updating)
        self._updating, self._every_ms = None, 0

    # --- updates ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._update(self._view())

    def _update(self, view: View) -> None:
        self._component.update(view)
        if self._shows_table:
            put(self._table, _columns(self._component.rows(view), len(self._component.headers)))
        tags = ["nothing"] if self._component.is_empty else []
        if list(self._table.tags) != tags:
            self._table.tags = tags


def _argument(arguments: Mapping[str, list[bytes]], name: str) -> str:
    values = arguments.get(name) or [b""]
    value = values[-1]
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))[:80]


def _column(number: int) -> str:
    return f"c{number}"


def _columns(rows: list[Row], count: int) -> dict[str, list[Any]]:
    return {_column(number): [row[number] for row in rows] for number in range(count)}
