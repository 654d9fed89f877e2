"""What surrounds the views: status bar, running section, notifications, a service that goes away."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from funcx_lab import FuncXClient, TaskFuture, stream
from funcx_lab.embedded import ensure_service, stop_service
from funcx_lab.locks import holder_of
from tests.browser.lab import JupyterLab, Notebook, jupyter_lab

pytestmark = pytest.mark.slow

_LIMIT_S = 60


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    root = tmp_path_factory.mktemp("lab")
    settings = root / "settings" / "funcx-lab"
    settings.mkdir(parents=True)
    (settings / "service.jupyterlab-settings").write_text(json.dumps({"notifyAfterSeconds": 1}))
    with (
        pytest.MonkeyPatch.context() as patch,
        jupyter_lab(root, patch.setenv) as lab,
    ):
        cell = "%%funcx local -b -n long\nimport time\ntime.sleep(2)"
        lab.write("shell", "%load_ext funcx_lab", cell, *["pass"] * 40)
        lab.write("other", "pass")
        yield lab
        stream.close_streams()


@pytest.fixture(scope="module")
def notebook(lab: JupyterLab) -> Iterator[Notebook]:
    with lab.open("shell") as notebook:
        yield notebook


@pytest.fixture
def page(notebook: Notebook) -> Page:
    return notebook.page


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def start(*seconds: float) -> list[TaskFuture[float]]:
    """Give the endpoint something to do."""
    endpoint = FuncXClient().endpoint("local")
    return [endpoint.submit(nap, each) for each in seconds]


def assert_cancelled(task: TaskFuture[float]) -> None:
    """Wait for a task's end, once the page has nothing to do: its requests pass through this thread."""
    with pytest.raises(CancelledError):
        task.result(_LIMIT_S)


def status_item(page: Page) -> Locator:
    return page.locator(".fxl-StatusItem-button")


def choose_command(page: Page, label: str) -> None:
    """Choose a command of the palette, as a person does who knows its name."""
    page.keyboard.press("Control+Shift+c")
    page.locator("#modal-command-palette .lm-CommandPalette-input").fill(label)
    item = page.locator("#modal-command-palette .lm-CommandPalette-item", has_text=label).first
    expect(item).to_be_visible()
    item.click()


def test_what_runs_is_told_on_every_page_and_cancelled_from_one(lab: JupyterLab, page: Page) -> None:
    with lab.open("other") as other:
        expect(status_item(page)).to_be_hidden()
        [task] = start(600)
        for each in (page, other.page):
            expect(status_item(each)).to_have_text("⇅ 1 running · local")
        page.bring_to_front()
        status_item(page).click()
        expect(page.locator("#fxl-sidebar")).to_be_visible()

        page.locator('[data-id="jp-running-sessions"]').click()
        row = page.locator(".fxl-RunningTask", has_text="nap")
        expect(row).to_contain_text("running · local")
        row.hover()
        row.get_by_title("Cancel").click()
        expect(page.locator(".jp-Dialog")).to_contain_text("Cancel nap?")
        page.locator(".jp-Dialog .jp-mod-warn").click()
        expect(row).to_have_count(0)
        for each in (page, other.page):
            expect(status_item(each)).to_be_hidden()
    assert_cancelled(task)


def test_cancel_all_asks_and_says_how_many(page: Page) -> None:
    tasks = start(600, 600, 600)
    expect(status_item(page)).to_have_text("⇅ 2 running, 1 waiting · local")
    choose_command(page, "Cancel All Remote Tasks")
    expect(page.locator(".jp-Dialog")).to_contain_text("Cancel 3 tasks?")
    page.locator(".jp-Dialog .jp-mod-reject").click()
    choose_command(page, "Cancel All Remote Tasks")
    assert not any(task.done() for task in tasks)
    page.locator(".jp-Dialog .jp-mod-warn").click()
    expect(status_item(page)).to_be_hidden()
    for task in tasks:
        assert_cancelled(task)


def test_the_end_of_a_long_task_is_told_and_leads_to_its_cell(notebook: Notebook, page: Page) -> None:
    notebook.run(0)
    notebook.run(1)
    notebook.focus(notebook.cells.count() - 1)
    expect(notebook.cell(1)).not_to_be_in_viewport()
    toast = page.locator(".Toastify__toast")
    expect(toast).to_contain_text("long succeeded after")
    toast.get_by_role("button", name="Go to cell").click()
    expect(notebook.cell(1)).to_be_in_viewport()


def test_a_service_that_was_stopped_is_told_and_found_again(page: Page) -> None:
    choose_command(page, "Hub Service")
    expect(page.locator(".jp-Dialog")).to_contain_text("at the hub service local")
    page.locator(".jp-Dialog button").last.click()
    stop_service()
    expect(status_item(page)).to_have_text("⇅ offline")
    assert "funcx-lab start" in (status_item(page).get_attribute("title") or "")
    ensure_service()
    expect(status_item(page)).to_be_hidden()


def test_a_service_that_was_killed_is_watched_again(page: Page) -> None:
    lock = Path(os.environ["FUNCX_LAB_HOME"]) / "service.lock"
    killed = holder_of(lock)
    assert killed is not None
    with page.expect_websocket(lambda socket: "/v3/watch" in socket.url):  # another one
        os.kill(killed, signal.SIGKILL)
    assert holder_of(lock) != killed
    [task] = start(600)
    expect(status_item(page)).to_have_text("⇅ 1 running · local")
    task.cancel()
    expect(status_item(page)).to_be_hidden()


def test_where_no_websocket_comes_through_requests_tell(notebook: Notebook, page: Page) -> None:
    page.route_web_socket(re.compile("/v3/watch"), lambda socket: socket.close(code=4502))
    page.reload()
    notebook.wait_for_kernel()
    [task] = start(600)
    expect(status_item(page)).to_have_text("⇅ 1 running · local")
    task.cancel()
    expect(status_item(page)).to_be_hidden()


def test_without_the_server_extension_the_first_use_says_what_to_install(
    lab: JupyterLab, notebook: Notebook, page: Page
) -> None:
    page.route("**/funcx-lab/status*", _not_there)
    with page.expect_response("**/funcx-lab/status*"):
        page.reload()
    notebook.wait_for_kernel()
    expect(page.locator(".jp-Dialog")).to_have_count(0)  # nobody has asked for anything yet
    expect(status_item(page)).to_be_hidden()
    choose_command(page, "Cancel All Remote Tasks")
    expect(page.locator(".jp-Dialog code")).to_contain_text("pip install")
    page.locator(".jp-Dialog button").last.click()
    assert all("404" in complaint for complaint in lab.complaints)  # the browser notes what is not there
    lab.complaints.clear()


def _not_there(route: Route) -> None:
    """Answer as a Jupyter server does that has no such route."""
    route.fulfill(status=404, content_type="text/html", body="<html>404 : Not Found</html>")
