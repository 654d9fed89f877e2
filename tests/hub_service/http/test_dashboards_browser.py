"""Dashboards in a browser: drawn in both themes, read from the keyboard, at rest when nobody sees them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from funcx_lab.protocol.messages import Outcome, TaskItem
from funcx_lab_hub_service.dashboards.catalogue import DASHBOARDS

pytestmark = pytest.mark.slow

WAIT_MS = 30_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Any other name than this machine's is looked up nowhere.
_NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
#: A heartbeat's facts: one block that runs, one that waits.
STATUS = {
    "credit": 10_000,
    "workers": 4,
    "busy": 1,
    "managers": 1,
    "queued": 9,
    "blocks": {"0": {"state": "running", "reason": ""}, "1": {"state": "pending", "reason": "Priority"}},
}


class Pages:
    """Opens pages, and notes what they complain of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._context = context
        self.url = url
        self.complaints: list[str] = []

    def open(self, path: str) -> Page:
        page = self._context.new_page()
        page.on("console", lambda each: each.type == "error" and self.complaints.append(each.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)
        page.goto(f"{self.url}/dash/{path}")
        return page

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"a request left this machine: {request.url}")


@pytest.fixture
def pages(ask: Any) -> Iterator[Pages]:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert path is not None, "this test needs Debian's package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", _NO_NAMES])
        context = browser.new_context(
            viewport={"width": 900, "height": 480},
            extra_http_headers={"Authorization": f"Bearer {ask.token}"},
        )
        context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        opened = Pages(context, ask.url)
        yield opened
        browser.close()
    assert opened.complaints == []


@pytest.fixture
def submit(ask: Any, agent: Any) -> Callable[[str], str]:
    """Run a task to its end and return its id; it says where it ran."""
    agent.answer = lambda task: answer(task)

    def answer(task: TaskItem) -> Outcome | None:
        if b"keep" in task.payload:
            return None
        return Outcome(True, b"x" * 900, started=100.0, ended=103.0, worker={"host": "node1", "pid": 7})

    document = {"function_name": "f", "function_code": "x", "serialized": True}
    function = ask("POST", "/v3/functions", document).document["function_uuid"]

    def run(payload: str) -> str:
        tasks = {"tasks": {function: [payload]}}
        task_id = ask("POST", "/v3/endpoints/cluster/submit", tasks).document["tasks"][function][0]
        if payload != "keep":
            ask("GET", f"/v3/tasks/{task_id}?wait=30")
        return str(task_id)

    return run


def ready(page: Any) -> None:
    page.wait_for_selector("html[data-ready=yes]", state="attached")


def pixels(page: Page) -> dict[tuple[int, ...], float]:
    """Return the share of each colour on the page."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    size = image.width * image.height
    return {color: n / size for n, color in image.getcolors(size) or []}  # type: ignore[misc]  # RGB: tuples


def test_every_dashboard_is_drawn_without_white_boxes(pages: Pages, agent: Any, submit: Any) -> None:
    submit("good")
    submit("keep")
    agent.report(STATUS)
    for name in DASHBOARDS:
        page = pages.open(f"{name}?theme=dark")
        ready(page)
        page.wait_for_selector("canvas.bk-layer", state="attached")
        shares = pixels(page)
        assert shares.get((33, 33, 33), 0) > 0.4, name
        bright = sum(share for color, share in shares.items() if min(color) > 245)
        assert bright < 0.005, f"{name} has a white box: {bright:.1%}"
        page.close()
    page = pages.open("scaling?theme=light")
    ready(page)
    expect(page.locator("canvas.bk-layer").first).to_be_visible()
    page.get_by_role("button", name="Show as table").click()
    expect(page.get_by_role("row").filter(has_text="block 1 asked for (pending)")).to_contain_text(
        "Priority; 9 calls wait for 4 workers"
    )
    assert pixels(page).get((255, 255, 255), 0) > 0.4


def test_the_table_twin_is_reached_by_keyboard_and_follows(pages: Pages, submit: Any) -> None:
    submit("first")
    page = pages.open("tasks")
    ready(page)
    twin = page.locator("#twin")
    expect(twin).to_be_hidden()
    page.locator("body").press("Tab")  # the list of endpoints comes first
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Show as table")).to_be_focused()
    page.keyboard.press("Space")
    expect(twin).to_be_visible()
    expect(page.get_by_role("button")).to_have_attribute("aria-pressed", "true")
    table = page.get_by_role("table", name="Newest tasks: where and when they ran, and how they ended")
    expect(table.get_by_role("columnheader")).to_have_count(7)
    expect(table.get_by_role("rowheader")).to_have_count(1)
    second = submit("second")
    expect(table.get_by_role("rowheader").first).to_contain_text(second[-8:])
    page.keyboard.press("Enter")
    expect(twin).to_be_hidden()


def test_pages_that_nobody_sees_rest(pages: Pages, hub: Any, submit: Any) -> None:
    sampler = hub.service.dashboards.sampler

    def reads() -> int:
        return int(hub.do(lambda: sampler.reads))

    submit("first")
    page = pages.open("")
    frame = page.frame_locator("iframe[title='Task stream']")
    frame.locator("html[data-ready=yes]").wait_for(state="attached")
    went_on(page, reads)
    # As a panel of JupyterLab that is behind another one: no event tells the frames in it.
    page.evaluate("document.querySelector('main').style.display = 'none'")
    stopped(page, reads)
    page.evaluate("document.querySelector('main').style.display = ''")
    went_on(page, reads)
    page.close()

    page = pages.open("queue")
    ready(page)
    went_on(page, reads)
    page.evaluate("window.postMessage({type: 'funcx:pause'}, window.location.origin)")
    stopped(page, reads)
    page.evaluate("window.postMessage({type: 'funcx:resume'}, window.location.origin)")
    went_on(page, reads)


def went_on(page: Page, reads: Callable[[], int]) -> None:
    """Wait until the store is read twice more."""
    before = reads()
    for _ in range(WAIT_MS // 100):
        if reads() >= before + 2:
            return
        page.wait_for_timeout(100)
    raise AssertionError("a page that is seen is not updated")


def stopped(page: Page, reads: Callable[[], int]) -> None:
    """Wait until the store is not read for more than twice as long as an update takes to come."""
    for _ in range(WAIT_MS // 2500):
        before = reads()
        page.wait_for_timeout(2500)
        if reads() == before:
            return
    raise AssertionError("a page that nobody sees is updated all the same")
