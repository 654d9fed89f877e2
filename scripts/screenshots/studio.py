"""Where pictures are taken: a JupyterLab with work going on, and where they are kept."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, expect

from funcx_lab import FuncXClient, stream
from tests.browser.lab import JupyterLab, Notebook

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
#: A picture may have so many bytes; a larger one gets so many colours.
LIMIT, COLOURS = 150_000, 256

LOAD = "%load_ext funcx_lab"
#: Somebody's analysis: functions, calls of which some fail, an endpoint that is away, and what takes long.
WORK = (
    """import math
from funcx_lab import FuncXClient

fxc = FuncXClient()
readings = [math.sin(i / 30) + math.sin(i / 7) / 3 for i in range(3000)]


def smooth(values, width=5):
    return [sum(values[i : i + width]) / width for i in range(len(values) - width + 1)]


def count_peaks(values, floor=0.0):
    above = [value for value in values if value > floor]
    if not above:
        raise ValueError(f"no reading is above {floor}")
    return sum(a < b > c for a, b, c in zip(above, above[1:], above[2:]))


def simulate(seed):
    import random
    import time

    random.seed(seed)
    energy = 0.0
    for step in range(10):
        energy += random.gauss(0, 1)
        print(f"step {step}: energy {energy:+.3f}")
        time.sleep(random.uniform(0.02, 0.3))
    if seed % 9 == 7:
        raise ArithmeticError("the chain did not converge")
    return energy


runs = [fxc.submit(simulate, seed, endpoint="local", task_label=f"simulate {seed}") for seed in range(16)]
calls = [
    fxc.submit(smooth, readings, 9, endpoint="local"),
    fxc.submit(count_peaks, readings, 0.5, endpoint="local"),
    fxc.submit(count_peaks, readings, 5.0, endpoint="local"),
]
[call.exception() for call in runs + calls]
fxc.register_endpoint("cluster")["endpoint_id"][:0]""",
    """def tail(seed):
    import time

    time.sleep(600)


waiting = [fxc.submit(tail, seed, endpoint="local", task_label=f"chain {seed}") for seed in range(6)]""",
)
#: A notebook that is open in pictures: its figure is there, its fit goes on.
SPECTRUM = (
    """counts = [3, 5, 4, 9, 14, 26, 38, 29, 17, 8, 6, 4, 5, 3]
energies = [10 + 0.5 * channel for channel in range(14)]""",
    """%%funcx local -o none
import matplotlib.pyplot as plt

plt.figure(figsize=(5, 2))
plt.step(energies, counts, where="mid")
plt.xlabel("energy (keV)")
plt.show()""",
    """%%funcx local -b --task fit -n "fit spectrum"
import random
import time

loss = 2.4
for epoch in range(1, 1000):
    loss *= random.uniform(0.96, 1.01)
    print(f"epoch {epoch:3d}  loss {loss:.4f}")
    time.sleep(1)""",
)
BUSY = "spectrum"


class Studio:
    """A JupyterLab for pictures.

    Parameters
    ----------
    lab : JupyterLab
        It runs, on an empty directory.
    """

    def __init__(self, lab: JupyterLab) -> None:
        self.lab = lab
        self._is_busy = False

    @contextmanager
    def busy_page(self, width: int = 1280, height: int = 800) -> Iterator[Notebook]:
        """Open the notebook `BUSY`, while work goes on."""
        self.be_busy()
        with self.lab.open(BUSY) as notebook:
            notebook.page.set_viewport_size({"width": width, "height": height})
            notebook.wait_for(len(SPECTRUM), "running", "epoch")
            notebook.focus(len(SPECTRUM))
            notebook.output(len(SPECTRUM)).scroll_into_view_if_needed()
            yield notebook

    @contextmanager
    def page(self, name: str, *cells: str, width: int = 1200, height: int = 900) -> Iterator[Notebook]:
        """Open a new notebook with these cells, none of which has run."""
        self.lab.write(name, *cells)
        with self.lab.open(name) as notebook:
            notebook.page.set_viewport_size({"width": width, "height": height})
            yield notebook

    def be_busy(self) -> None:
        """Have work done, and leave some that goes on and some that waits; the notebook `BUSY` shows it."""
        if self._is_busy:
            return
        with self.page("simulations", LOAD, *WORK) as first, self.page(BUSY, LOAD, *SPECTRUM) as second:
            first.run(0)
            first.run(1)
            for number in range(1 + len(SPECTRUM)):
                second.run(number)
            second.wait_for(len(SPECTRUM), "epoch   2")
            first.run(2)  # all workers have something to do from now on
            for notebook in (first, second):
                notebook.save()
        self._is_busy = True

    def cancel(self) -> None:
        """Cancel what goes on, so that the workers are free for the next picture."""
        client = FuncXClient()
        client.cancel([task["task_id"] for task in client.get_tasks(limit=100)])

    def close(self) -> None:
        """Cancel what goes on, and end the connection."""
        self.cancel()
        stream.close_streams()


@contextmanager
def isolated() -> Iterator[Path]:
    """Give an empty directory, and nothing of the user's settings."""
    for name in [name for name in os.environ if name.startswith(("FUNCX_LAB_", "JUPYTERHUB_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="funcx-lab-pictures-", ignore_cleanup_errors=True) as root:
        yield Path(root)


def area(first: Locator, last: Locator) -> FloatRect:
    """Return the part of the page from the top of one element to the bottom of another below it."""
    top, bottom = first.bounding_box(), last.bounding_box()
    if top is None or bottom is None:
        raise LookupError(f"not on the page: {first if top is None else last}")
    height = bottom["y"] + bottom["height"] - top["y"]
    return FloatRect(x=top["x"], y=top["y"], width=top["width"], height=height)


def settle(page: Page) -> None:
    """Wait until nothing moves or covers the page: dialogs, notifications, tooltips."""
    page.mouse.move(0, 0)
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    page.evaluate("() => document.fonts.ready")
    page.evaluate(
        "() => Promise.all(document.getAnimations().filter(a => a.effect?.getComputedTiming().endTime"
        " < Infinity).map(a => a.finished.catch(() => 0)))"
    )


def keep(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """Keep a picture of a page or of a part of it."""
    settle(page)
    IMAGES.mkdir(exist_ok=True)
    shrink(page.screenshot(clip=clip), name)


def shrink(picture: bytes, name: str) -> None:
    """Keep a PNG; with a palette only if it is too large, since that changes small signs' colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    path = IMAGES / f"{name}.png"
    image.save(path, optimize=True)
    if path.stat().st_size > LIMIT:
        few = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)


def report() -> int:
    """Say how large the pictures are; 1 if one is too large."""
    sizes = {path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{size:8,} bytes  {name}")
    return int(any(size > LIMIT for size in sizes.values()))
