"""A JupyterLab of its own in a headless Chromium: open a notebook, run cells, see what stands on the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FloatRect,
    Locator,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

from funcx_lab.embedded import stop_service

#: The first page of a JupyterLab takes long on a busy machine; everything else waits as long at most.
TIMEOUT_MS = 60_000
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_HERE = ("localhost", "127.0.0.1")
#: Where the browser looks any other name up: nowhere.
_NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"

#: Contrast as WCAG 2 defines it, with every layer that lets light through.
_CONTRASTS = """selector => {
  const parse = colour => {
    const [r, g, b, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, alpha];
  };
  const over = (top, bottom) => [0, 1, 2].map(i => top[i] * top[3] + bottom[i] * (1 - top[3]));
  const light = rgb => rgb
    .map(part => part / 255)
    .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    const layers = [];
    for (; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const opacity = node => node ? getComputedStyle(node).opacity * opacity(node.parentElement) : 1;
  const found = {};
  for (const root of document.querySelectorAll(selector)) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
      if (!text || node.closest("style, [aria-hidden=true]")) continue;
      const colour = parse(getComputedStyle(node).color), back = behind(node);
      colour[3] *= opacity(node);
      const [dark, bright] = [light(over(colour, back)), light(back)].sort((a, b) => a - b);
      found[text] = (bright + 0.05) / (dark + 0.05);
    }
  }
  return found;
}"""


class Notebook:
    """One notebook on one page.

    Parameters
    ----------
    page : playwright page
        It shows the notebook and nothing else of interest.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.cells = page.locator(".jp-Notebook .jp-Cell")

    def cell(self, number: int) -> Locator:
        """Return a cell, counted from 0."""
        return self.cells.nth(number)

    def output(self, number: int) -> Locator:
        """Return what stands under a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def start(self, number: int) -> None:
        """Run a cell that has not run yet, as a person does, and do not wait for it."""
        prompt = self._prompt(number)
        expect(prompt).to_have_text("[ ]:")
        prompt.click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text("[ ]:")

    def focus(self, number: int) -> None:
        """Make a cell the active one."""
        self._prompt(number).click()

    def edit(self, number: int, source: str) -> None:
        """Replace a cell's text by typing."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def press(self, number: int, button: str) -> None:
        """Press a button below a cell."""
        self.output(number).get_by_role("button", name=button).click()

    def agree(self) -> None:
        """Answer the page's question with yes."""
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def run(self, number: int) -> Locator:
        """Run a cell that has not run yet, wait until it ends, and return its output."""
        self.start(number)
        expect(self._prompt(number)).to_have_text(re.compile(r"\[\d+\]:"))
        return self.output(number)

    def _prompt(self, number: int) -> Locator:
        return self.cell(number).locator(".jp-InputPrompt")

    def wait_for(self, number: int, *texts: str) -> None:
        """Wait until these texts stand under a cell."""
        for text in texts:
            expect(self.output(number)).to_contain_text(text)

    def texts(self) -> list[str]:
        """Return the text under every cell."""
        return [self.output(number).inner_text() for number in range(self.cells.count())]

    def interrupt(self) -> None:
        """Press the button that interrupts the kernel."""
        self._toolbar("notebook:interrupt-kernel").click()

    def restart(self) -> None:
        """Restart the kernel with the toolbar's button and its dialog."""
        self._toolbar("notebook:restart-kernel").click()
        with self.page.expect_response(lambda answer: "/restart" in answer.url):
            self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_for_kernel()

    def shut_down(self) -> None:
        """End the kernel from the menu."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        with self.page.expect_response(lambda answer: answer.request.method == "DELETE"):
            self.page.locator('.lm-Menu-item[data-command="kernelmenu:shutdown"]').click()

    def _toolbar(self, command: str) -> Locator:
        return self.page.locator(f'.jp-NotebookPanel-toolbar [data-command="{command}"]').first

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        expect(self.page.locator(".jp-KernelName")).to_have_text(re.compile("Python 3"))
        indicator = self.page.locator(".jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator")
        expect(indicator).to_have_attribute("data-status", "idle")

    def save(self) -> None:
        """Save the file; its outputs may go on changing, so that it has something to save all the time."""
        self.page.keyboard.press("Escape")
        with self.page.expect_response(
            lambda answer: "/api/contents/" in answer.url and answer.request.method == "PUT"
        ):
            self.page.keyboard.press("Control+s")

    def contrasts(self, selector: str) -> dict[str, float]:
        """Return how far each text below ``selector`` stands out from what is behind it, 1 to 21.

        What is marked as decoration (``aria-hidden``) is left out.
        """
        found: dict[str, float] = self.page.evaluate(_CONTRASTS, selector)
        return found

    def picture(self, path: Path, first: int = 0) -> None:
        """Keep the cells from ``first`` on as PNG, with their outputs."""
        top = self.cell(first).bounding_box()
        bottom = self.cells.last.bounding_box()
        assert top is not None
        assert bottom is not None
        height = bottom["y"] + bottom["height"] - top["y"]
        area = FloatRect(x=top["x"], y=top["y"], width=top["width"], height=height)
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, clip=area)


class JupyterLab:
    """A running JupyterLab, and the browser that looks at it.

    Parameters
    ----------
    browser : playwright browser
        Gives each notebook a page without memory of others.
    address : str
        Of the lab, with its token.
    directory : Path
        Where its notebooks lie.

    Attributes
    ----------
    strays : list of str
        Addresses off this machine that a page asked for; none was let through.
    complaints : list of str
        Errors in the browser's console and exceptions of its scripts.
    """

    def __init__(self, browser: Browser, address: str, directory: Path) -> None:
        parts = urlsplit(address)
        self.directory = directory
        self.strays: list[str] = []
        self.complaints: list[str] = []
        self._root, self._query = f"{parts.scheme}://{parts.netloc}", parts.query
        self._context = browser.new_context(viewport={"width": 1200, "height": 900})
        self._context.set_default_timeout(TIMEOUT_MS)
        self._context.route("**/*", self._let_through)

    def write(self, name: str, *sources: str) -> None:
        """Put a notebook of code cells into the directory."""
        self._write(name, [nbformat.v4.new_code_cell(source) for source in sources])

    def write_outputs(self, name: str, *outputs: nbformat.NotebookNode) -> None:
        """Put a notebook into the directory whose cells have run, one for each output."""
        numbered = enumerate(outputs, 1)
        self._write(
            name,
            [nbformat.v4.new_code_cell(f"{n}", outputs=[each], execution_count=n) for n, each in numbered],
        )

    def _write(self, name: str, cells: list[nbformat.NotebookNode]) -> None:
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.directory / f"{name}.ipynb")

    @contextmanager
    def open(
        self, name: str, on_request: Callable[[Request], None] = lambda request: None
    ) -> Iterator[Notebook]:
        """Show a notebook on a new page, which is closed in the end; its kernel goes on.

        Parameters
        ----------
        name : str
            The notebook.
        on_request : callable
            Told every request of the page.
        """
        page = self._context.new_page()
        page.on("console", self._note)
        page.on("request", on_request)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"{self._root}/lab/tree/{name}.ipynb?reset&{self._query}")
        notebook = Notebook(page)
        expect(notebook.cells.first).to_be_visible(timeout=TIMEOUT_MS)
        notebook.wait_for_kernel()
        yield notebook
        page.close()

    def use_theme(self, name: str) -> None:
        """Choose the theme of pages that are opened from now on."""
        _write_setting("apputils-extension", "themes", {"theme": name})

    def _let_through(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in _HERE:
            route.continue_()
        else:
            self.strays.append(route.request.url)
            route.abort()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")


@contextmanager
def jupyter_lab(root: Path, set_variable: Callable[[str, str], None]) -> Iterator[JupyterLab]:
    """Start ``funcx-lab lab`` and a browser on a directory of their own, and end both and the service.

    Parameters
    ----------
    root : Path
        An empty directory for all that they keep.
    set_variable : callable
        Sets an environment variable for as long as they run.
    """
    browser_path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert browser_path, "no Chromium is installed; on Debian: apt install chromium"
    directory = _prepare(root, set_variable)
    process = subprocess.Popen(
        [sys.executable, "-m", "funcx_lab.cli", "lab", "--no-browser", "--port", "0", str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address, "JupyterLab did not start; its standard error says why"
        with sync_playwright() as playwright:
            expect.set_options(timeout=TIMEOUT_MS)
            browser = playwright.chromium.launch(executable_path=browser_path, args=[_NO_NAMES])
            yield JupyterLab(browser, address[0], directory)
            browser.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        stop_service()


def _prepare(root: Path, set_variable: Callable[[str, str], None]) -> Path:
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        set_variable(name, str(root / name.lower()))
    set_variable("FUNCX_LAB_HOME", str(root / "home"))
    set_variable("JUPYTERLAB_SETTINGS_DIR", str(root / "settings"))
    set_variable("JUPYTERLAB_WORKSPACES_DIR", str(root / "workspaces"))
    _write_setting("apputils-extension", "notification", {"fetchNews": "false", "checkForUpdates": False})
    _write_setting("notebook-extension", "tracker", {"windowingMode": "none"})  # all cells are on the page
    directory = root / "notebooks"
    directory.mkdir()
    return directory


def _write_setting(extension: str, name: str, settings: dict[str, object]) -> None:
    folder = Path(os.environ["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / extension
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jupyterlab-settings").write_text(json.dumps(settings))
