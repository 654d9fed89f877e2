"""The pages of the dashboards: an index, a list for programs, and the files they need."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from functools import lru_cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import FuncxLabError, MissingExtra, NotAuthenticated, NotFound
from funcx_lab_hub_service.auth.pages import login_address
from funcx_lab_hub_service.dashboards.catalogue import DASHBOARDS, MISSING
from funcx_lab_hub_service.handlers.base import Handler

if TYPE_CHECKING:
    from funcx_lab_hub_service.dashboards.mount import Dashboards

#: Scripts of ours only, nothing from elsewhere. Bokeh puts styles into its shadow roots.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'self'"
)
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_BOKEH = "bokeh.min.js"
_YEAR_S = 365 * 86400


class DashHandler(Handler):
    """A page for people and programs that showed who they are."""

    for_pages = True

    @property
    def dashboards(self) -> Dashboards:
        """What is mounted."""
        return self.application.settings["dashboards"]  # type: ignore[no-any-return]  # tornado's settings are untyped

    @property
    def is_for_people(self) -> bool:
        """Whether a browser wants to show the answer."""
        return "text/html" in self.request.headers.get("Accept", "")

    def set_default_headers(self) -> None:
        """Allow nothing from elsewhere."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send people to the login, or tell them what is wrong in a page; programs get the error body."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not self.is_for_people or not isinstance(error, FuncxLabError):
            super().write_error(status_code, **kwargs)
        elif isinstance(error, NotAuthenticated) and "Authorization" not in self.request.headers:
            self.redirect(login_address(self.services, self.request))
        else:
            self.set_status(error.as_document()["http_status_code"])
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(
                _page("Dashboards", f"<main><h1>Dashboards</h1><p>{escape(error.message)}</p></main>")
            )

    @property
    def theme(self) -> str:
        """The theme that was asked for."""
        return "dark" if self.get_query_argument("theme", "") == "dark" else "light"


class IndexHandler(DashHandler):
    """All dashboards on one page."""

    def get(self) -> None:
        """Answer a page that frames each of them."""
        if not has_bokeh():
            raise MissingExtra(MISSING)
        theme = self.theme
        pages = [(f"{name}?theme={theme}", escape(title)) for name, title in DASHBOARDS.items()]
        links = "".join(f'<li><a href="{page}">{title}</a></li>' for page, title in pages)
        frames = "".join(
            f'<section><iframe src="{page}" title="{title}" loading="lazy"></iframe></section>'
            for page, title in pages
        )
        other = "light" if theme == "dark" else "dark"
        nav = (
            f"<header><h1>Dashboards</h1>"
            f'<nav aria-label="Dashboards"><ul>{links}</ul></nav>'
            f'<a class="theme" href="?theme={other}">{other.capitalize()} theme</a></header>'
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_page("Dashboards", f'{nav}<main class="all">{frames}</main>', theme))


class ListHandler(DashHandler):
    """The dashboards, for programs."""

    def get(self) -> None:
        """Answer names and titles."""
        self.answer({"dashboards": [{"name": name, "title": title} for name, title in DASHBOARDS.items()]})


class FileHandler(DashHandler):
    """Scripts and styles: three files, each known by name."""

    async def get(self, name: str) -> None:
        """Answer the file."""
        path = _path(name)
        if path is None:
            raise NotFound(f"There is no file {name[:80]}.")
        self.set_header("Content-Type", _TYPES[path.suffix])
        is_versioned = name == _BOKEH and "v" in self.request.query_arguments
        self.set_header(
            "Cache-Control", f"private, max-age={_YEAR_S}" if is_versioned else "private, no-cache"
        )
        self.finish(await asyncio.to_thread(path.read_bytes))


def has_bokeh() -> bool:
    """Whether bokeh is installed; does not import it."""
    return importlib.util.find_spec("bokeh") is not None


@lru_cache(maxsize=16)
def _path(name: str) -> Path | None:
    """Return where a file is; None for any other name than the three."""
    if name in ("page.js", "page.css"):
        return Path(str(files(__package__) / "assets" / name))
    if name != _BOKEH:
        return None
    spec = importlib.util.find_spec("bokeh")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "server" / "static" / "js" / _BOKEH


def _page(title: str, body: str, theme: str = "light") -> str:
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)} · funcx-lab</title>'
        '<link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="static/page.css"></head><body>{body}</body></html>'
    )


def script_json(document: Any) -> str:
    """Return JSON that can stand in a script element whatever its texts are."""
    text = json.dumps(document)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
