"""What a front end shows of a value or a figure, as text by MIME type."""

from __future__ import annotations

import base64
import builtins
import io
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from funcx_lab.serialize.replaced import replace_functions

_METHODS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "text/latex": "_repr_latex_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
}
#: Names a widget that only the process knows that made it; a front end would say it is missing.
_WIDGET = "application/vnd.jupyter.widget-view+json"
#: Longer plain text is cut in the middle of nowhere; the value itself travels whole.
_TEXT_LIMIT = 100_000
#: Where IPython defines the functions that ``IPython.display`` offers.
IPYTHON_DISPLAY = "IPython.core.display_functions"
_KERNEL_BACKENDS = ("inline", "ipympl", "widget", "nbagg")


def mimebundle(value: Any) -> dict[str, Any]:
    """Return what a notebook would show for ``value``: MIME type to text, images as base64.

    ``text/plain`` is always there. A repr that raises is left out, or shown as the error's name.
    """
    bundle: dict[str, Any] = {"text/plain": _plain_text(value)}
    if isinstance(value, type):
        return bundle
    try:
        made = value._repr_mimebundle_(include=None, exclude=None)
        bundle.update(made[0] if isinstance(made, tuple) else made or {})
    except Exception:  # noqa: S110  # most objects have none, and a broken repr must not fail the cell
        pass
    for mime, method in _METHODS.items():
        try:
            shown = getattr(value, method)()
        except Exception:  # noqa: S112  # as above
            continue
        if shown is not None and mime not in bundle:
            bundle[mime] = shown[0] if isinstance(shown, tuple) else shown
    bundle.pop(_WIDGET, None)
    return {str(mime): _as_text(shown) for mime, shown in bundle.items()}


class DisplayHandle:
    """What ``display(..., display_id=True)`` returns: shows something else in the same place.

    Parameters
    ----------
    display_id : str
        Names the place.
    """

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id

    def display(self, value: Any, **options: Any) -> None:
        """Show ``value`` in a new place under the same id."""
        _display(value, display_id=self.display_id, **options)

    def update(self, value: Any, **options: Any) -> None:
        """Show ``value`` in place of what was shown."""
        _display(value, display_id=self.display_id, update=True, **options)


def _display(value: Any, **options: Any) -> None:
    # Looked up when used: a handle that came back to a notebook shows there.
    builtins.display(value, **options)  # type: ignore[attr-defined]  # see install_display; IPython has its own


def install_display(publish: Callable[[str, dict[str, Any]], None]) -> None:
    """Give the user's code the ``display`` that notebooks have, and what belongs to it in IPython.

    Parameters
    ----------
    publish : callable
        Takes kind and data of an event: ``display``, ``update_display`` or ``clear``.
    """

    def clear_output(wait: bool = False) -> None:
        """Remove what the cell has shown so far, or do so when it shows more."""
        publish("clear", {"wait": wait})

    def update_display(value: Any, *, display_id: str, **options: Any) -> None:
        """Show ``value`` in place of what was shown under this id."""
        display(value, display_id=display_id, update=True, **options)

    def publish_display_data(data: Mapping[str, Any], metadata: Any = None, **options: Any) -> None:
        """Show what is a MIME bundle already."""
        transient = dict(options.get("transient") or {})
        kind = "update_display" if options.get("update") else "display"
        publish(kind, {"data": dict(data), "metadata": dict(metadata or {}), "transient": transient})

    def display(
        *values: Any,
        display_id: str | bool | None = None,
        update: bool = False,
        raw: bool = False,
        clear: bool = False,
        metadata: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> DisplayHandle | None:
        """Show values as a notebook would."""
        if clear:
            clear_output(wait=True)
        name = uuid.uuid4().hex if display_id is True else display_id or None
        transient = {} if name is None else {"display_id": name}
        bundles = [dict(value) if raw else mimebundle(value) for value in values]
        if name is not None and not bundles:
            bundles = [{}]  # an empty place, for an update to fill
        for bundle in bundles:
            publish_display_data(bundle, metadata, transient=transient, update=update)
        return DisplayHandle(name) if name is not None and not update else None

    builtins.display = display  # type: ignore[attr-defined]  # IPython puts it there, too
    replace_functions(
        IPYTHON_DISPLAY,
        {
            "display": display,
            "clear_output": clear_output,
            "update_display": update_display,
            "publish_display_data": publish_display_data,
            "DisplayHandle": DisplayHandle,
        },
    )

    _show_figures_where_asked(publish_display_data)


def _show_figures_where_asked(publish_display_data: Callable[[dict[str, Any]], None]) -> None:
    def show(*_: Any, **__: Any) -> None:
        """Show the figures that were drawn since the last time, here and now."""
        for bundle in collect_figures():
            publish_display_data(bundle)

    replace_functions("matplotlib.pyplot", {"show": show})


def _as_text(shown: Any) -> Any:
    if isinstance(shown, bytes):
        return base64.b64encode(shown).decode("ascii")
    # Lone surrogates cannot be encoded as UTF-8.
    return shown.encode("utf-8", "backslashreplace").decode() if isinstance(shown, str) else shown


def _plain_text(value: Any) -> str:
    try:
        text = _pretty(value)
    except Exception as err:  # a broken repr must not fail the cell
        text = f"<{type(value).__name__} whose repr raised {type(err).__name__}>"
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}... ({len(text):,} characters)"


def _pretty(value: Any) -> str:
    if type(value) not in (list, dict, tuple, set, frozenset):
        return repr(value)
    import pprint

    return pprint.pformat(value, width=79, compact=True, sort_dicts=False)


def prepare_matplotlib() -> None:
    """Choose a matplotlib backend that needs no screen and no kernel, unless the user chose one."""
    chosen = os.environ.get("MPLBACKEND", "")
    # A worker started from a kernel inherits the kernel's backend, which only works in a kernel.
    if not chosen or any(name in chosen for name in _KERNEL_BACKENDS):
        os.environ["MPLBACKEND"] = "Agg"
    # A figure's own show() is no error either: the figure is shown after the cell.
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")


def collect_figures() -> list[dict[str, Any]]:
    """Return every open matplotlib figure as a MIME bundle, in order, and close them all."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    bundles = []
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        file = io.BytesIO()
        try:
            figure.savefig(file, format="png", bbox_inches="tight")
        except Exception as err:  # e.g. broken TeX in a label: drawn late, must not fail the cell
            bundles.append({"text/plain": f"{figure!r} could not be drawn: {type(err).__name__}: {err}"})
            continue
        bundles.append(
            {"image/png": base64.b64encode(file.getvalue()).decode("ascii"), "text/plain": repr(figure)}
        )
    pyplot.close("all")
    return bundles
