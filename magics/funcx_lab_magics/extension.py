"""What ``%load_ext funcx_lab`` adds to IPython, and ``%unload_ext`` takes away."""

from __future__ import annotations

import os
from typing import Any

from funcx_lab_magics.arguments import cell_parser
from funcx_lab_magics.autofuncx import AutoFuncX
from funcx_lab_magics.cell_map import CellMap
from funcx_lab_magics.commands import overview
from funcx_lab_magics.completion import EndpointNames, make_matcher
from funcx_lab_magics.magics import FuncXMagics
from funcx_lab_magics.running import cards, map_cards
from funcx_lab_magics.tasks import Task

_ADDED = "_funcx_lab_extension"


def load(shell: Any) -> None:
    """Register magics, settings, completion and cards; loading twice changes nothing."""
    if getattr(shell, _ADDED, None) is not None:
        return
    magics = FuncXMagics(shell)
    auto = AutoFuncX(magics.notebook)
    shell.register_magics(magics, auto)
    auto.install()
    shell.configurables.append(magics.notebook.settings)
    cards.install(shell)
    map_cards.install(shell)
    matcher = make_matcher(EndpointNames(lambda: _endpoint_names(magics)).get, lambda: _task_ids(magics))
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(matcher)
    setattr(shell, _ADDED, (magics, matcher, auto))


def unload(shell: Any) -> None:
    """Take away what `load` added."""
    added = getattr(shell, _ADDED, None)
    if added is None:
        return
    magics, matcher, auto = added
    for kind in ("line", "cell"):
        for name in ("funcx", "autofuncx"):
            shell.magics_manager.magics[kind].pop(name, None)
    auto.uninstall()
    for ours in (magics, auto, magics.notebook.settings):
        shell.configurables.remove(ours)
    cards.uninstall(shell)
    map_cards.uninstall(shell)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.remove(matcher)
    delattr(shell, _ADDED)


def _endpoint_names(magics: FuncXMagics) -> list[str]:
    if magics.notebook.open_client is None and not _service_exists(magics.notebook.settings.url):
        return [magics.notebook.default_endpoint.name]
    return [str(endpoint["name"]) for endpoint in magics.notebook.client().get_endpoints()]


def _service_exists(url: str) -> bool:
    """Whether a client can be made without starting a hub service."""
    from funcx_lab.credentials import profile_path
    from funcx_lab.embedded import running_service

    chosen = url or os.environ.get("FUNCX_LAB_URL") or os.environ.get("FUNCX_LAB_JUPYTERHUB_URL")
    return bool(chosen) or profile_path().exists() or running_service() is not None


def _task_ids(magics: FuncXMagics) -> list[str]:
    known = [*magics.notebook.tasks, *magics.notebook.maps]
    return [each.task_id[-8:] for each in sorted(known, key=_created, reverse=True)]


def _created(known: Task | CellMap) -> float:
    return known.created if isinstance(known, CellMap) else known.view.created


def _document(function: Any, text: str) -> None:
    function.__doc__ = text


# The parsers know the grammar; what ``%%funcx?`` shows is made of them.
_document(FuncXMagics.cell_funcx, "Run this cell at an endpoint.\n\n" + cell_parser().format_help())
_document(FuncXMagics.line_funcx, overview())
