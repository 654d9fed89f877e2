"""What the extension decides about a cell's text: its line, remedies, staleness, what is shown."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from funcx_lab_magics.page.display import fingerprint

pytestmark = pytest.mark.slow

_COMPILED = Path(__file__).parents[2] / "labextension" / "lib" / "notebook"
#: In the order in which they need each other.
_MODULES = ("magicLine", "fixes", "fingerprint", "lines")

Call = Callable[[str], Any]


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Evaluates an expression over the compiled functions."""
    texts = [(_COMPILED / f"{name}.js").read_text() for name in _MODULES]
    script = "\n".join(re.sub(r"^(import .*|export )", "", text, flags=re.MULTILINE) for text in texts)
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.evaluate(f"window.call = (() => {{ {_checked(script)}; return text => eval(text); }})()")
        yield lambda expression: page.evaluate("text => call(text)", expression)
        browser.close()


def _checked(script: str) -> str:
    names = re.findall(r"^(?:function|const|class) (\w+)", script, flags=re.MULTILINE)
    assert len(names) == len(set(names)), "two modules define the same name"
    return re.sub(r"^//# sourceMappingURL.*$", "", script, flags=re.MULTILINE)


def _js(value: object) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "%%funcx gpu\nx = 1"),
        ("%%funcx\nx", "%%funcx gpu\nx"),
        ("%%funcx local -b\nx", "%%funcx gpu -b\nx"),
        ("%%funcx -b local\nx", "%%funcx gpu -b\nx"),
        ("%%funcx -n 'my label' --timeout 1m local\nx", "%%funcx gpu -n 'my label' --timeout 1m\nx"),
        ("%%funcx -e local -q\nx", "%%funcx gpu -q\nx"),
        ("%%funcx --endpoint=local\nx", "%%funcx gpu\nx"),
        ("%%funcx -n local\nx", "%%funcx gpu -n local\nx"),
        ("%%funcxyz\nx", "%%funcx gpu\n%%funcxyz\nx"),
        ("%%funcx local\ny = '$& $1'", "%%funcx gpu\ny = '$& $1'"),
    ],
)
def test_an_endpoint_is_named_in_place_of_another(call: Call, before: str, after: str) -> None:
    assert call(f"withEndpoint({_js(before)}, 'gpu')") == after
    assert call(f"endpointOf({_js(after)})") == "gpu"


@pytest.mark.parametrize("name", ["a b", "x; rm -rf /", "it's", "$(id)", "\u00e9t\u00e9"])
def test_a_name_with_signs_is_one_quoted_word(call: Call, name: str) -> None:
    from funcx_lab_magics.arguments import parse_cell_line

    line = call(f"withEndpoint('%%funcx -b', {_js(name)})")
    assert parse_cell_line(line.removeprefix("%%funcx")).endpoint == name


def test_options_are_set_and_lists_grow(call: Call) -> None:
    assert call("withOption('%%funcx a --timeout 1m -b', ['--timeout'], '2m')") == "%%funcx a -b --timeout 2m"
    assert call("withOption('%%funcx a --no-check -b', ['--no-check'], null)") == "%%funcx a -b --no-check"
    assert (
        call("withNames('%%funcx -x a,b local', ['-x', '--exclude'], ['b', 'c'])") == "%%funcx local -x a,b,c"
    )


def _fixes(call: Call, fault: dict[str, Any], source: str = "%%funcx local\nx") -> dict[str, str]:
    endpoints = [{"name": "local", "status": "online"}, {"name": "big", "status": "online"}]
    endpoints.append({"name": "off", "status": "offline"})
    trans = "{__: (text, ...rest) => text.replace(/%(\\d)/g, (_, n) => rest[n - 1])}"
    place = f"{{source: {_js(source)}, endpoints: {_js(endpoints)}, endpoint: 'local', trans: {trans}}}"
    found = (
        f"fixesFor({_js(fault)}, {place}).map(fix => [fix.label, fix.edit({_js(source)}).split('\\n')[0]])"
    )
    return dict(call(found))


@pytest.mark.parametrize(
    ("fault", "fixes"),
    [
        (
            {"code": "ENV_MISMATCH", "details": {"others": ["big"]}},
            {"Run on big": "%%funcx big", "Send it all the same": "%%funcx local --no-check"},
        ),
        (
            {"code": "CANNOT_SERIALIZE", "details": {"name": "lock"}},
            {"Run without sending lock": "%%funcx local -x lock"},
        ),
        (
            {"code": "USAGE_ERROR", "details": {"large": ["df"], "include": "df,n"}},
            {"Send df": "%%funcx local -i df,n", "Run without sending df": "%%funcx local -x df"},
        ),
        ({"code": "WALLTIME_REACHED"}, {"Run with --timeout 10m": "%%funcx local --timeout 10m"}),
        (
            {"code": "WORKER_LOST", "message": "out of memory"},
            {"Run on big": "%%funcx big", "Run again, up to 2 times more": "%%funcx local --retries 2"},
        ),
        (
            {
                "code": "TASK_FAILED",
                "type": "ModuleNotFoundError",
                "message": "No module named 'xarray.core'",
            },
            {"Run with --requires xarray": "%%funcx local --requires xarray", "Run on big": "%%funcx big"},
        ),
        ({"code": "TASK_FAILED", "type": "ValueError", "message": "No module named 'x'"}, {}),
        ({"code": "constructor"}, {}),
        ({"code": "CANNOT_SERIALIZE", "details": {"name": "x\n!rm"}}, {}),
        (
            {"code": "ENV_MISMATCH", "details": {"others": 7}},
            {"Send it all the same": "%%funcx local --no-check"},
        ),
    ],
)
def test_what_can_be_done_is_an_edit_of_the_line(
    call: Call, fault: dict[str, Any], fixes: dict[str, str]
) -> None:
    assert _fixes(call, fault) == fixes


def test_a_walltime_is_doubled(call: Call) -> None:
    fixes = _fixes(call, {"code": "WALLTIME_REACHED"}, "%%funcx local --timeout 90m\nx")
    assert fixes == {"Run with --timeout 3h": "%%funcx local --timeout 3h"}


@pytest.mark.parametrize("text", ["", "x = 1", " \r\n\tx = 1\n\n", "größe = '😀'\n", "a\u00a0"])
def test_both_sides_give_a_text_the_same_fingerprint(call: Call, text: str) -> None:
    assert call(f"fingerprint({_js(text)})") == fingerprint(text)


def test_the_line_of_a_cell_does_not_make_it_stale(call: Call) -> None:
    origin = {"source": fingerprint("x + 1"), "inputs": ["x"]}
    assert call(f"isEdited({_js(origin)}, '%%funcx big -b\\nx + 1\\n')") is False
    assert call(f"isEdited({_js(origin)}, '%%funcx big -b\\nx + 2\\n')") is True


@pytest.mark.parametrize(
    ("source", "turn", "is_changed"),
    [
        ("x = 2", 5, True),
        ("x = 2", 3, False),
        ("x == 2", 5, False),
        ("xx = 2", 5, False),
        ("y = 1\nx += 1", 5, True),
        ("x: int = 3", 5, True),
        ("def x():\n    pass", 5, True),
        ("print(x=2)", 5, False),
    ],
)
def test_an_input_changed_when_a_cell_above_assigned_it_later(
    call: Call, source: str, turn: int, is_changed: bool
) -> None:
    origin, cells = {"source": "", "inputs": ["x"]}, [{"source": source, "turn": turn}]
    assert call(f"changedInputs({_js(origin)}, {_js(cells)}, 4)") == (["x"] if is_changed else [])


def _shown(call: Call, *texts: str) -> str:
    shown: str = call(
        f"(() => {{ const l = new Lines(); {_js(texts)}.forEach(t => l.add(t)); return l.text; }})()"
    )
    return shown


def test_a_carriage_return_begins_a_line_again(call: Call) -> None:
    assert _shown(call, "10 %\r", "20 %\r", "done\nnext") == "done\nnext"
    assert _shown(call, "10 %\r", "20 %\r") == "20 %"


def test_colours_are_left_out_and_markup_stays_text(call: Call) -> None:
    assert _shown(call, "\x1b[31mred\x1b[0m <b>&amp;\n") == "red <b>&amp;\n"


def test_long_lines_and_long_texts_are_bounded(call: Call) -> None:
    assert len(_shown(call, "x" * 1_000_000)) < 5_000
    assert "more)" in _shown(call, "x" * 1_000_000 + "\nend")
    many = _shown(call, *["line\n" * 1000] * 100)
    assert len(many) < 130_000
    assert many.endswith("line\n")
