"""A picture of a JupyterHub user's own server, with an endpoint that another user shares."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect, sync_playwright

from scripts.screenshots.studio import LOAD, keep
from tests.browser.lab import TIMEOUT_MS, Notebook
from tests.browser.panel import Panel
from tests.jupyterhub.hub import JupyterHub, find_proxy

CONFIGURE = "!funcx-endpoint configure cluster && funcx-endpoint start cluster"
SHARE = "!funcx-lab share cluster --group physics"
STOP = "!funcx-endpoint stop cluster"
CELL = """%%funcx cluster
import platform

print("computed on", platform.system(), "with Python", platform.python_version())"""
LONG = """%%funcx cluster -b -n "reduce run 2041"
import time

for file in range(1, 500):
    print(f"file {file:03d}.h5: {1200 + 7 * file} events")
    time.sleep(1)"""


def take(root: Path, name: str) -> None:
    """Start a JupyterHub, share ada's endpoint with eve's group, and take eve's page."""
    proxy = find_proxy()
    if proxy is None:
        raise SystemExit("configurable-http-proxy is missing: cd labextension && jlpm install")
    expect.set_options(timeout=2 * TIMEOUT_MS)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    hub = JupyterHub(root / "hub", proxy)
    try:
        _prepare(hub, "ada", CONFIGURE, SHARE, STOP)
        _prepare(hub, "eve", LOAD, CELL, LONG)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path)
            ada, eve = (browser.new_page(viewport={"width": 1280, "height": 720}) for _ in range(2))
            owner = _open(ada, hub, "ada")
            owner.run(0)
            owner.run(1)
            notebook = _open(eve, hub, "eve")
            panel = Panel(eve)
            expect(panel.row("endpoints", "cluster")).to_contain_text("online")
            for number in range(3):
                notebook.run(number)
            notebook.wait_for(2, "file 003")
            keep(eve, name)
            owner.run(2)
            browser.close()
    finally:
        hub.stop()


def _prepare(hub: JupyterHub, user: str, *cells: str) -> None:
    """Give a user a notebook, a JupyterLab that asks nobody for news, and a server."""
    home = hub.directory / "homes" / user
    settings = home / ".jupyter" / "lab" / "user-settings" / "@jupyterlab"
    for folder, file, content in (
        ("apputils-extension", "notification", {"fetchNews": "false", "checkForUpdates": False}),
        ("notebook-extension", "tracker", {"windowingMode": "none"}),
    ):
        (settings / folder).mkdir(parents=True)
        (settings / folder / f"{file}.jupyterlab-settings").write_text(json.dumps(content))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, home / "beamtime.ipynb")
    hub.spawn(user)


def _open(page: Page, hub: JupyterHub, user: str) -> Notebook:
    page.set_default_timeout(2 * TIMEOUT_MS)
    page.goto(f"{hub.address}/hub/login")
    page.locator("[name=username]").fill(user)
    page.locator("[name=password]").fill("trial")
    page.locator("[type=submit]").click()
    page.goto(f"{hub.address}/user/{user}/lab/tree/beamtime.ipynb?reset")
    notebook = Notebook(page)
    notebook.wait_for_kernel()
    return notebook
