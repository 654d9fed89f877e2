"""The side panel, the task table and the task view, as people and screen readers find them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from funcx_lab import FuncXClient
from funcx_lab.embedded import ensure_service
from funcx_lab.transport import Transport
from tests.browser.lab import DARK, LIGHT, JupyterLab
from tests.browser.panel import Panel, bright_tiles, violations

pytestmark = pytest.mark.slow

LOAD = "%load_ext funcx_lab"
#: Each of them is to be read, and none of them to do anything.
EVIL = (
    "<img src=x onerror=window.hacked=1>",
    "<script>window.hacked=1</script>",
    '"><svg/onload=window.hacked=1>',
    "{{constructor.constructor('window.hacked=1')()}}",
    "javascript:window.hacked=1",
)


@pytest.fixture(autouse=True)
def _nothing_runs_on(lab: JupyterLab) -> Iterator[None]:
    yield
    client = FuncXClient()
    client.cancel([task["task_id"] for task in client.get_tasks(limit=100)])


def waits_for(flag: Path) -> str:
    """Return code that writes a line, waits for a file and writes another line."""
    return (
        f"import os, time\nprint('\\x1b[31mbefore\\x1b[0m', flush=True)\n"
        f"while not os.path.exists({str(flag)!r}):\n    time.sleep(0.05)\nprint('after')\n"
    )


def test_a_task_of_a_cell_is_followed_and_found_again_after_a_reload(lab: JupyterLab, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    lab.write("followed", LOAD, "size = [1, 2, 3]", f"%%funcx local -b -n followed\nsize\n{waits_for(flag)}")
    with lab.open("followed") as notebook:
        panel = Panel(notebook.page)
        for number in range(3):
            notebook.run(number)
        expect(panel.row("endpoints", "local")).to_contain_text("online")
        view = panel.open_task("running", "followed")
        expect(view.get_by_role("region", name="Log")).to_have_text("before")
        expect(view.get_by_role("status")).to_contain_text("running")
        expect(view.locator("table", has_text="size")).to_contain_text("B")
        flag.touch()
        expect(view.get_by_role("region", name="Log")).to_contain_text("after")
        expect(view.get_by_role("status")).to_contain_text("success")
        expect(view.get_by_role("list", name="States")).to_contain_text(
            re.compile("received.*running.*success", re.S)
        )
        expect(panel.row("recent", "followed")).to_contain_text("success")
        expect(panel.row("running", "followed")).to_have_count(0)
        table = panel.open_table()
        table.get_by_role("searchbox").fill("followed")
        expect(table.get_by_role("row", name="followed")).to_have_attribute("aria-rowindex", "2")
        with notebook.page.expect_response(
            lambda answer: "/api/workspaces" in answer.url and answer.request.method == "PUT"
        ):
            pass  # the layout is kept a moment later
        notebook.page.goto(re.sub(r"/tree/.*|\?.*", "", notebook.page.url))
        expect(notebook.page.locator(".fxl-TaskTableView").get_by_role("searchbox")).to_have_value("followed")
        notebook.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="✔ followed").click()
        expect(panel.task_view().get_by_role("region", name="Log")).to_contain_text("after")


def test_the_panel_cancels_while_the_kernel_is_busy(lab: JupyterLab, tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    lab.write(
        "busy",
        LOAD,
        "%%funcx local -b -n endless\nimport time\nprint('begun', flush=True)\nwhile True:\n"
        f"    print('beat', file=open({str(beats)!r}, 'a'))\n    time.sleep(0.05)",
        "import time\ntime.sleep(3600)",
    )
    with lab.open("busy") as notebook:
        panel = Panel(notebook.page)
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "begun")
        notebook.start(2)
        row = panel.row("running", "endless")
        row.hover()
        row.get_by_role("button", name="Cancel endless").click()
        panel.accept()
        expect(panel.row("recent", "endless")).to_contain_text("cancelled")
        assert stands_still(beats)
        notebook.interrupt()


def stands_still(path: Path) -> bool:
    """Wait until a file does not grow any more, a minute at most."""
    for _ in range(60):
        size = path.stat().st_size
        time.sleep(1)
        if path.stat().st_size == size:
            return True
    return False


def test_the_keyboard_is_enough(lab: JupyterLab) -> None:
    lab.write(
        "keys",
        LOAD,
        *(f"%%funcx local -b -n {name}\nimport time\ntime.sleep(3600)" for name in ("one", "two")),
    )
    with lab.open("keys") as notebook:
        for number in range(3):
            notebook.run(number)
        page, press = notebook.page, notebook.page.keyboard.press
        page.locator('.jp-SideBar [data-id="fxl-sidebar"]').focus()
        press("Enter")
        panel = Panel(page)
        focus = page.locator(":focus")
        page.locator(".fxl-SidePanel .jp-AccordionPanel-title", has_text="Running").focus()
        press("Space")
        expect(focus).to_have_attribute("aria-expanded", "false")
        press("Space")
        expect(focus).to_have_attribute("aria-expanded", "true")
        expect(panel.row("running", "one")).to_be_visible()
        page.locator("#fxl-section-running [data-key][tabindex='0']").focus()
        press("Home")
        first = focus.inner_text()
        press("ArrowDown")
        expect(focus).not_to_have_text(first)
        press("Tab")
        expect(focus).to_have_attribute("aria-label", re.compile("Cancel (one|two)"))
        press("Shift+Tab")
        press("Delete")
        expect(page.locator(".jp-Dialog")).to_be_visible()
        press("Tab")
        press("Enter")
        expect(panel.section("running").locator(".fxl-Row")).to_have_count(1)
        expect(focus).to_have_class("fxl-Row-main")  # what had the focus is gone; its neighbour has it
        press("Enter")
        expect(panel.task_view().locator("h2")).to_have_text(re.compile("one|two"))
        page.locator(".fxl-SidePanel .fxl-Action").last.focus()
        with page.expect_response(lambda answer: "/funcx-lab/status" in answer.url):
            press("F5")


def test_the_table_is_used_with_the_keyboard(lab: JupyterLab) -> None:
    client = FuncXClient()
    for number in range(3):
        client.submit(time.sleep, 3600, task_label=f"nap {number}")
    lab.write("table", "1")
    with lab.open("table") as notebook:
        page, press = notebook.page, notebook.page.keyboard.press
        table = Panel(page).open_table()
        table.get_by_role("searchbox").fill("nap")
        rows = table.locator("tbody tr[data-key]")
        expect(rows).to_have_count(3)
        table.locator("tr[tabindex='0']").focus()
        press("Space")
        press("Shift+ArrowDown")
        press("Shift+ArrowDown")
        expect(table.locator("tr[aria-selected='true']")).to_have_count(3)
        expect(table.get_by_role("status")).to_have_text("3 selected")
        press("Delete")
        press("Tab")
        press("Enter")
        expect(rows.filter(has_text="cancelled")).to_have_count(3)
        press("Enter")
        expect(Panel(page).task_view().locator("h2")).to_have_text(re.compile(r"nap \d"))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_screen_readers_and_dark_rooms(lab: JupyterLab, theme: str) -> None:
    shown, broken = (f"{name} {theme.split()[1]}" for name in ("shown", "broken"))
    lab.write(
        "looks",
        LOAD,
        f"%%funcx local -n {shown!r}\nimport sys\nfrom IPython.display import HTML, display\n"
        "print('\\n'.join(f'\\x1b[{n}mcolour {n}\\x1b[0m' for n in range(30, 38)))\n"
        "print('complaint', file=sys.stderr)\ndisplay(HTML('<b>bold</b>'))",
        f"%%funcx local -b -n {broken!r}\nraise ValueError('no such thing')",
    )
    lab.use_theme(theme)
    with lab.open("looks") as notebook:
        panel = Panel(notebook.page)
        for number in range(3):
            notebook.run(number)
        expect(panel.row("recent", broken)).to_contain_text("failed")
        found = violations(notebook.page, ".fxl-SidePanel")
        for name in (shown, broken):
            view = panel.open_task("recent", name)
            expect(view).to_contain_text("complaint" if name == shown else "no such thing")
            found += violations(notebook.page, ".fxl-TaskView:not(.lm-mod-hidden .fxl-TaskView)")
            if theme == DARK:
                assert bright_tiles(view) == []
        table = panel.open_table()
        expect(table.get_by_role("row", name=broken)).to_be_visible()
        found += violations(notebook.page, ".fxl-TaskTableView")
        assert found == []
        if theme == DARK:
            assert bright_tiles(table) == []
            assert bright_tiles(panel.node) == []


def test_what_strangers_write_is_text(lab: JupyterLab) -> None:
    lab.use_theme(LIGHT)
    client = FuncXClient()
    markup = " ".join(EVIL)
    failing = client.register_function(_fail, EVIL[0], description=EVIL[1])
    client.run(EVIL, function_id=failing, task_label=markup)
    client.submit(_show, markup, task_label="displayed")
    lab.write("evil", "1")
    with lab.open("evil") as notebook:
        panel = Panel(notebook.page)
        row = panel.row("recent", EVIL[0])
        expect(row).to_contain_text("failed")
        expect(panel.row("functions", EVIL[0])).to_contain_text(EVIL[1])
        view = panel.open_task("recent", EVIL[0])
        expect(view.locator("h2")).to_have_text(markup)
        expect(view.get_by_role("region", name="Log")).to_contain_text(EVIL[1])
        expect(view.get_by_role("region", name="Traceback")).to_contain_text(EVIL[2])
        view = panel.open_task("recent", "displayed")
        expect(view.locator(".fxl-Outputs i")).to_have_text("kept")
        assert notebook.page.evaluate("() => window.hacked") is None
        assert notebook.page.locator(".fxl-View :is(script, svg[onload], [onerror])").count() == 0
    # An image may be shown, and this one is not there.
    lab.complaints = [each for each in lab.complaints if not each.endswith("/x)")]


def _show(markup: str) -> None:
    from IPython.display import HTML, display

    display(HTML(f"{markup}<i>kept</i>"))  # type: ignore[no-untyped-call]


def _fail(lines: tuple[str, ...]) -> None:
    print("\n".join(lines))
    raise ValueError("\n".join(lines))


def test_a_function_comes_into_the_notebook(lab: JupyterLab) -> None:
    function_id = FuncXClient().register_function(_show, "show_it")
    lab.write("functions", "1")
    with lab.open("functions") as notebook:
        page = notebook.page
        row = Panel(page).row("functions", "show_it")
        row.locator(".fxl-Row-name").hover()
        page.mouse.down()
        notebook.cell(0).hover()
        page.mouse.move(600, 150, steps=4)
        page.mouse.up()
        expect(notebook.cells).to_have_count(2)
        expect(page.locator(".jp-Notebook")).to_contain_text(f'client.run(function_id="{function_id}")')
        row.locator(".fxl-Row-main").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".jp-Notebook").get_by_text("client.run(")).to_have_count(2)


def test_the_panel_says_what_to_do_when_the_service_is_away(lab: JupyterLab) -> None:
    lab.write("away", "1")
    with lab.open("away") as notebook:
        panel = Panel(notebook.page)
        expect(panel.row("endpoints", "local")).to_contain_text("online")
        # The server would start the service again at once; this is what it says of one that is elsewhere.
        problem = {"code": "FX999", "message": "There is nobody at http://hub.", "try": "Ask <b>Ada</b>."}
        told = {"ok": False, "service": "hub", "user": None, "dashboards": False, "problem": problem}
        notebook.page.route("**/funcx-lab/status*", lambda route: route.fulfill(json=told))
        panel.node.get_by_role("button", name="Read everything again").click()
        alert = panel.node.get_by_role("alert")
        for text in problem.values():
            expect(alert).to_contain_text(text)
        expect(panel.node.get_by_role("status")).to_contain_text("not connected")
        notebook.page.unroute("**/funcx-lab/status*")
        alert.get_by_role("button", name="Try again").click()
        expect(alert).to_have_count(0)
        expect(panel.row("endpoints", "local")).to_contain_text("online")


def test_a_long_log_and_a_long_line(lab: JupyterLab) -> None:
    client = FuncXClient()
    lab.write("long", "1")
    with lab.open("long") as notebook:
        panel = Panel(notebook.page)
        client.submit(_write_much, task_label="much")
        expect(panel.row("recent", "much")).to_contain_text("success")
        view = panel.open_task("recent", "much")
        log = view.get_by_role("region", name="Log")
        expect(log).to_contain_text("the end")
        lines = log.locator(".fxl-Log-line")
        assert lines.count() < 100
        log.evaluate("node => { node.scrollTop = 0; }")
        expect(lines.first).to_contain_text("… 998 kB more")
        expect(view.get_by_role("button", name="Follow")).to_be_visible()
        view.get_by_role("button", name="Follow").click()
        expect(log).to_contain_text("the end")


def _write_much() -> None:
    print("x" * 1_000_000)
    for number in range(60_000):
        print("line", number)
    print("the end")


#: How long until the page has drawn what a hand did, in milliseconds; of three times the middle one.
_LATENCIES = """async () => {
  const scroller = document.querySelector('.fxl-Table-scroller');
  const input = document.querySelector('.fxl-TaskTable input[type=search]');
  const type = text => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, text);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const press = options => document.querySelector('.fxl-Table tr[tabindex="0"]')
    .dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...options }));
  const heading = name => [...document.querySelectorAll('.fxl-Table th button')]
    .find(button => button.textContent.startsWith(name)).click();
  const hands = {
    'filter': () => type('sleep'), 'filter less': () => type(''), 'sort by name': () => heading('Name'),
    'sort by time': () => heading('Received'), 'scroll to the middle': () => { scroller.scrollTop = 140000; },
    'scroll to the top': () => { scroller.scrollTop = 0; }, 'one down': () => press({ key: 'ArrowDown' }),
    'select all': () => press({ key: 'a', ctrlKey: true }), 'select none': () => press({ key: 'Escape' }),
  };
  const took = {};
  for (let round = 0; round < 3; round++) {
    for (const [name, act] of Object.entries(hands)) {
      const start = performance.now();
      act();
      await new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn, 0)));
      (took[name] ??= []).push(Math.round(performance.now() - start));
      await new Promise(rested => setTimeout(rested, 200));
    }
  }
  return Object.fromEntries(Object.entries(took).map(([name, all]) => [name, all.sort((a, b) => a - b)[1]]));
}"""
MANY, ENDPOINTS = 10_000, 200


def test_ten_thousand_tasks_and_two_hundred_endpoints(lab: JupyterLab) -> None:
    client = FuncXClient()
    transport = Transport(ensure_service())
    for number in range(ENDPOINTS):
        transport.json("POST", "/v3/endpoints", {"endpoint_name": f"cluster-{number:03}"})
    batch = client.create_batch()
    for number in range(MANY):
        batch.add(0, endpoint="cluster-007", function=time.sleep, task_label=f"many {number}")
    client.batch_run(batch)
    lab.write("many", "1")
    with lab.open("many") as notebook:
        page = notebook.page
        panel = Panel(page)
        expect(panel.section("endpoints").locator(".fxl-Row")).to_have_count(ENDPOINTS + 1)
        expect(panel.section("running").get_by_role("button", name="more in the task table")).to_be_visible()
        assert panel.section("running").locator(".fxl-Row").count() <= 100
        table = panel.open_table()
        grid = table.get_by_role("grid")
        rows = table.locator("tbody tr[data-key]")
        expect(rows.first).to_be_visible()
        while int(grid.get_attribute("aria-rowcount") or 0) <= MANY:
            before = grid.get_attribute("aria-rowcount") or ""
            page.evaluate("() => document.querySelector('.fxl-Table-scroller').scrollTo(0, 1e9)")
            expect(grid).not_to_have_attribute("aria-rowcount", before)
        print("\nmilliseconds with 10,000 tasks:", page.evaluate(_LATENCIES))
        expect(rows.first).to_be_visible()
        assert rows.count() < 100
