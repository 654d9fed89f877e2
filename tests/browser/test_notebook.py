"""A notebook as a person sees it: JupyterLab in a browser, the local service, the endpoint ``local``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.lab import JupyterLab, jupyter_lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    with (
        pytest.MonkeyPatch.context() as patch,
        jupyter_lab(tmp_path_factory.mktemp("lab"), patch.setenv) as lab,
    ):
        yield lab


@pytest.fixture(autouse=True)
def _nothing_strays(lab: JupyterLab) -> Iterator[None]:
    yield
    assert lab.strays == [], "a page asked for something that is not on this machine"
    complaints, lab.complaints = lab.complaints, []
    assert complaints == []


def test_output_stands_under_its_own_cell_while_two_run(lab: JupyterLab) -> None:
    loop = "import time\nfor i in range({n}):\n    print('{word}', i, flush=True)\n    time.sleep(0.1)"
    lab.write(
        "two",
        "%load_ext funcx_lab",
        "%%funcx local -b -n behind\n" + loop.format(n=60, word="behind"),
        "%%funcx local\n" + loop.format(n=30, word="front"),
    )
    with lab.open("two") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.start(2)
        notebook.wait_for(1, "behind 1", "running")
        notebook.wait_for(2, "front 1")
        assert "running" in notebook.output(1).inner_text()
        notebook.wait_for(2, "front 29")
        notebook.wait_for(1, "behind 59", "success")
        before, card, cell = notebook.texts()
    assert before == ""
    assert "front" not in card
    assert "behind" not in cell


def test_a_figure_is_seen(lab: JupyterLab) -> None:
    lab.write(
        "figure",
        "%load_ext funcx_lab",
        "%%funcx local\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])\nplt.show()",
    )
    with lab.open("figure") as notebook:
        notebook.run(0)
        image = notebook.run(1).locator("img")
        expect(image).to_be_visible()
        box = image.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 200


def test_the_interrupt_button_cancels_the_cell(lab: JupyterLab) -> None:
    lab.write(
        "cancel",
        "%load_ext funcx_lab",
        "%%funcx local\nimport time\nprint('begun', flush=True)\ntime.sleep(600)",
        "%%funcx local\n6 * 7",
    )
    with lab.open("cancel") as notebook:
        notebook.run(0)
        notebook.start(1)
        notebook.wait_for(1, "begun")
        notebook.interrupt()
        notebook.wait_for(1, "Cancelled …")
        notebook.run(2)
        notebook.wait_for(2, "42")
