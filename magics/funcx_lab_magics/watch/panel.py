"""The face of a watch in a notebook's cell: a Bokeh figure with controls, as widgets."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anywidget
import bokeh
import ipywidgets as widgets
import traitlets
from bokeh.util.paths import static_path
from IPython.display import display

from funcx_lab.looks import LOOKS
from funcx_lab_magics.watch.board import Board
from funcx_lab_magics.watch.columns import all_columns
from funcx_lab_magics.watch.figures import STACK, items
from funcx_lab_magics.watch.live import Watch
from funcx_lab_magics.watch.words import one_line

_HERE = Path(__file__).parent
#: What can be looked at: name and words.
VIEWS = (
    ("progress", "Progress"),
    ("stream", "Task stream"),
    ("endpoints", "By endpoint"),
    ("table", "Table"),
)
#: When nobody sees the figure for so long, the watch sleeps: pages are laid out anew.
_SLEEP_AFTER_S = 5.0
#: A second press within this time means it.
_SURE_S = 5.0


class Library(widgets.Widget):  # type: ignore[misc]
    """BokehJS itself, for front ends that reach nothing but this kernel; one for all figures."""

    code = traitlets.Unicode().tag(sync=True)
    version = traitlets.Unicode(bokeh.__version__).tag(sync=True)
    _one: Library | None = None

    @classmethod
    def of_kernel(cls) -> Library:
        """Return the one of this kernel."""
        if cls._one is None or cls._one.comm is None:
            path = Path(static_path()) / "js" / "bokeh.min.js"
            cls._one = cls(code=path.read_text())
        return cls._one


class Figure(anywidget.AnyWidget):  # type: ignore[misc]
    """The figure: draws the columns of the chosen view in the page's own colours.

    Attributes
    ----------
    library : Library
        BokehJS.
    views : list of str
        Names of the views, in the order of the buttons.
    view : int
        The number of the one that is shown.
    items : dict
        The figures, by view.
    columns : dict
        What they draw, by view.
    stack : list of str
        The states in the order in which they are stacked, the lowest first.
    is_paused : bool
        Whether the page keeps what it shows.
    summary : str
        How it is in words, for those who do not see it.
    words : dict
        What the states are called.
    """

    _esm = _HERE / "figure.js"
    _css = _HERE / "figure.css"
    library = traitlets.Instance(widgets.Widget).tag(sync=True, **widgets.widget_serialization)
    views = traitlets.List([name for name, _ in VIEWS]).tag(sync=True)
    view = traitlets.Int(0).tag(sync=True)
    items = traitlets.Dict().tag(sync=True)
    columns = traitlets.Dict().tag(sync=True)
    stack = traitlets.List(STACK).tag(sync=True)
    is_paused = traitlets.Bool(False).tag(sync=True)
    summary = traitlets.Unicode().tag(sync=True)
    words = traitlets.Dict({state: look[1] for state, look in LOOKS.items()}).tag(sync=True)


class Panel:
    """A figure, and above it what to show, pause, and cancel the rest.

    Parameters
    ----------
    watch : Watch
        What it shows.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._shown_by: set[str] = set()
        self._falling_asleep: threading.Timer | None = None
        self.figure = Figure(library=Library.of_kernel(), items=items())
        self.choice = widgets.ToggleButtons(options=[words for _, words in VIEWS], tooltips=[])
        self.choice.style.button_width = "auto"
        self.pause = widgets.ToggleButton(description="Pause", icon="pause", tooltip="Keep what is shown now")
        self.cancel = CancelButton(watch)
        for control in (self.pause, self.cancel.button):
            control.layout.width = "auto"
        # Linked in the page: they work while the kernel is busy.
        widgets.jslink((self.choice, "index"), (self.figure, "view"))
        widgets.jslink((self.pause, "value"), (self.figure, "is_paused"))
        row = widgets.HBox([self.choice, self.pause, self.cancel.button])
        row.layout.flex_flow, row.layout.align_items = "row wrap", "center"
        self.box = widgets.VBox([row, self.figure])
        self.box.add_class("fxl-watch")
        self.figure.on_msg(self._hear)

    def display(self) -> None:
        """Show it in the cell that runs now."""
        display(self.box)  # type: ignore[no-untyped-call]

    def show(self, board: Board, title: str, *, is_over: bool) -> None:
        """Send what is new to the page."""
        if not self.figure.is_paused or is_over:
            with self.figure.hold_sync():
                self.figure.columns = all_columns(board)
                self.figure.summary = one_line(board, title)
        self.cancel.follow(board)
        if is_over:
            self.pause.disabled = True

    def _hear(self, _: object, content: dict[str, Any], __: object) -> None:
        """Hear from a page whether it shows the figure; without any, the watch sleeps."""
        page = str(content.get("page", ""))
        if content.get("kind") == "shown":
            self._shown_by.add(page)
            if self._falling_asleep is not None:
                self._falling_asleep.cancel()
            self._watch.wake_up()
        elif content.get("kind") == "gone":
            self._shown_by.discard(page)
            if not self._shown_by:
                self._falling_asleep = threading.Timer(_SLEEP_AFTER_S, self._sleep_if_alone)
                self._falling_asleep.daemon = True
                self._falling_asleep.start()

    def _sleep_if_alone(self) -> None:
        if not self._shown_by:
            self._watch.sleep()


class CancelButton:
    """Cancels the rest at the second press.

    Parameters
    ----------
    watch : Watch
        Whose tasks.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._is_sure = False
        self._unsure: threading.Timer | None = None
        self._live = 0
        self.button = widgets.Button(
            description="Cancel the rest", icon="stop", tooltip="Cancel the tasks that have not ended"
        )
        self.button.on_click(self._pressed)

    def follow(self, board: Board) -> None:
        """Take in how many tasks can be cancelled."""
        self._live = len(board.live)
        self.button.disabled = not self._live

    def _pressed(self, _: object) -> None:
        if self._is_sure:
            self._watch.request_cancel()
            self._settle()
            return
        self._is_sure = True
        self.button.description = f"Cancel {self._live} {'task' if self._live == 1 else 'tasks'}: press again"
        self.button.button_style = "danger"
        self._unsure = threading.Timer(_SURE_S, self._settle)
        self._unsure.daemon = True
        self._unsure.start()

    def _settle(self) -> None:
        if self._unsure is not None:
            self._unsure.cancel()
        self._is_sure = False
        self.button.description, self.button.button_style = "Cancel the rest", ""
