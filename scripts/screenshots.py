"""Take the pictures of docs/images: main states of a notebook, in JupyterLab, against a service of its own.

python -m scripts.screenshots
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.lab import DARK, LIGHT, JupyterLab, jupyter_lab

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
#: A picture may have so many bytes.
LIMIT = 150_000

LOAD = "%load_ext funcx_lab"
FIGURE = """%%funcx local -o none
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 4 * np.pi, 400)
plt.figure(figsize=(5, 2.2))
plt.plot(x, np.sin(x) * np.exp(-x / 6))
plt.show()"""
STEPS = """%%funcx local -b --task fit -n "long fit"
import time

for step in range(1, 100):
    print(f"step {step}: loss {1 / step:.3f}")
    time.sleep(1)"""
FAILS = """%%funcx local
def ratio(a, b):
    return a / b

ratio(1, 0)"""
MAP = """%%funcx local --map terms
import math

math.pi**2 / 6 - sum(1 / n**2 for n in range(1, terms + 1))"""
MAP_DATA = "terms = [10, 100, 1_000, 10_000, 100_000, 1_000_000]"


def main() -> int:
    """Take all pictures; 1 if one is too large."""
    IMAGES.mkdir(exist_ok=True)
    with isolated() as root, jupyter_lab(root, os.environ.__setitem__) as lab:
        for theme, suffix in ((LIGHT, ""), (DARK, "-dark")):
            lab.use_theme(theme)
            take(lab, f"figure{suffix}", LOAD, FIGURE)
            take(lab, f"background{suffix}", LOAD, STEPS, until="step 3")
        lab.use_theme(LIGHT)
        take(lab, "error", LOAD, FAILS)
        take(lab, "tasks", LOAD, "%funcx endpoints", "%funcx tasks -n 5")
        take(lab, "map", LOAD, MAP_DATA, MAP)
    return report()


@contextmanager
def isolated() -> Iterator[Path]:
    """Give an empty directory, and nothing of the user's settings."""
    for name in [name for name in os.environ if name.startswith(("FUNCX_LAB_", "JUPYTERHUB_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="funcx-lab-pictures-", ignore_cleanup_errors=True) as root:
        yield Path(root)


def take(lab: JupyterLab, name: str, *cells: str, until: str = "") -> None:
    """Run cells and keep a picture of them; the last one may still go on when ``until`` is seen."""
    lab.write(name, *cells)
    with lab.open(name) as notebook:
        for number in range(len(cells)):
            notebook.run(number)
        if until:
            notebook.wait_for(len(cells) - 1, until)
        notebook.picture(IMAGES / f"{name}.png", first=1)


def report() -> int:
    """Say how large the pictures are; 1 if one is too large."""
    sizes = {path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{size:8,} bytes  {name}")
    return int(any(size > LIMIT for size in sizes.values()))


if __name__ == "__main__":
    sys.exit(main())
