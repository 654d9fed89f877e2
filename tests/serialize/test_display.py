"""What a cell displays at a worker, by the builtin and by IPython's functions."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROLOGUE = """
import json, sys
from funcx_lab.serialize.display import install_display
events = []
install_display(lambda kind, data: events.append([kind, data]))
assert not any(name.startswith("IPython") for name in sys.modules)
"""


def displayed(code: str) -> list[Any]:
    """Run ``code`` in a process of its own, as a worker would, and return its display events."""
    source = f"{PROLOGUE}{code}\nprint(json.dumps(events), file=sys.__stdout__)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout
    events: list[Any] = json.loads(done.stdout)
    return events


def test_the_display_of_ipython_shows_in_the_notebook() -> None:
    events = displayed("from IPython.display import HTML, display\ndisplay(HTML('<b>hi</b>'), 3)")
    assert [kind for kind, _ in events] == ["display", "display"]
    assert events[0][1]["data"]["text/html"] == "<b>hi</b>"
    assert events[1][1]["data"] == {"text/plain": "3"}


def test_ipython_that_was_imported_before_is_changed_too() -> None:
    again = "install_display(lambda kind, data: events.append(['second', data]))"
    events = displayed(f"import IPython.display\n{again}\nIPython.display.display\n")
    assert events == []
    events = displayed(f"import IPython.core.display_functions as d\n{again}\nd.display(1)")
    assert [kind for kind, _ in events] == ["second"]


def test_clearing_and_updating() -> None:
    events = displayed(
        "from IPython.display import clear_output, display, update_display\n"
        "display(display_id='place')\n"
        "update_display('x', display_id='place')\n"
        "handle = display('y', display_id=True)\n"
        "handle.update('z')\n"
        "clear_output(wait=True)"
    )
    assert [kind for kind, _ in events] == ["display", "update_display", "display", "update_display", "clear"]
    assert events[0][1] == {"data": {}, "metadata": {}, "transient": {"display_id": "place"}}
    assert events[1][1]["transient"] == {"display_id": "place"}
    assert events[2][1]["transient"] == events[3][1]["transient"]
    assert events[4][1] == {"wait": True}


def test_a_widget_is_shown_as_text() -> None:
    events = displayed(
        "class Bar:\n"
        "    def __repr__(self): return '10%'\n"
        "    def _repr_mimebundle_(self, **_):\n"
        "        return {'text/plain': '10%', 'application/vnd.jupyter.widget-view+json': {}}\n"
        "display(Bar())"
    )
    assert events[0][1]["data"] == {"text/plain": "10%"}


def test_a_made_bundle_is_shown_as_it_is() -> None:
    events = displayed("from IPython.display import display\ndisplay({'text/plain': 'p'}, raw=True)")
    assert events == [["display", {"data": {"text/plain": "p"}, "metadata": {}, "transient": {}}]]


def test_a_figure_is_shown_where_the_code_says_so() -> None:
    events = displayed(
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nfrom pylab import show\n"
        "plt.plot([1, 2])\nplt.show()\ndisplay('between')\nplt.plot([2, 1])\nshow(block=False)\nplt.show()"
    )
    shown = [sorted(data["data"]) for _, data in events]
    assert shown == [["image/png", "text/plain"], ["text/plain"], ["image/png", "text/plain"]]
