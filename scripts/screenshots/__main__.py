"""Take all pictures, or those that are named.

python -m scripts.screenshots [NAME...]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from scripts.screenshots import cells, dashboards, jupyterhub, panel
from scripts.screenshots.studio import Studio, isolated, report
from tests.browser.lab import DARK, LIGHT, jupyter_lab

#: Name, theme and photographer of each picture of JupyterLab; those that need running work come last.
IN_LAB: dict[str, tuple[str, Callable[[Studio, str], None]]] = {
    "figure": (LIGHT, cells.figure),
    "background": (LIGHT, cells.background),
    "error": (LIGHT, cells.error),
    "tasks": (LIGHT, cells.tasks),
    "map": (LIGHT, cells.many),
    "figure-dark": (DARK, cells.figure),
    "background-dark": (DARK, cells.background),
    "picker": (LIGHT, cells.picker),
    "watch": (LIGHT, cells.watch),
    "reopened": (LIGHT, cells.reopened),
    "panel": (LIGHT, panel.side_panel),
    "task": (LIGHT, panel.task_view),
    "task-table": (LIGHT, panel.task_table),
    "dashboard-pane": (LIGHT, dashboards.pane),
    "panel-dark": (DARK, panel.side_panel),
    "dashboards": (LIGHT, dashboards.index_page),
    "dashboards-dark": (DARK, dashboards.index_page),
}
IN_HUB = "jupyterhub"


def main(names: list[str]) -> int:
    """Take pictures; 1 if one is too large, 2 if there is none of a name."""
    if unknown := set(names) - {*IN_LAB, IN_HUB}:
        print(f"no such picture: {', '.join(sorted(unknown))}; there are {', '.join([*IN_LAB, IN_HUB])}")
        return 2
    wanted = [name for name in IN_LAB if name in names or not names]
    if wanted:
        with isolated() as root, jupyter_lab(root, os.environ.__setitem__) as lab:
            studio = Studio(lab)
            for name in wanted:
                theme, photographer = IN_LAB[name]
                lab.use_theme(theme)
                print(name, flush=True)
                photographer(studio, name)
            studio.close()
    if IN_HUB in names or not names:
        with isolated() as root:
            jupyterhub.take(root, IN_HUB)
    return report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
