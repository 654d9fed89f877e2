"""Cells that do not fit their endpoint are refused before they are sent; ``auto`` takes one that fits."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from funcx_lab.errors import EnvMismatch
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.payload import PYTHON

THERE = Environment(
    "worker",
    f"{PYTHON}.1",
    "8a1f03bc" * 8,
    {"numpy": "1.26.4", "pandas": "99.1"},
    {"numpy": "numpy", "pandas": "pandas"},
    accelerators=["GPU 0: NVIDIA A100"],
    memory=64_000_000_000,
)
TORCH = msgspec.structs.replace(
    THERE, packages={**THERE.packages, "torch": "2.4"}, modules={**THERE.modules, "torch": "torch"}
)
NEEDS_TORCH = "x = 1\nimport torch\ntorch.zeros(3)"


@pytest.fixture
def report(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let endpoints report environments; those with one are online."""
    states: dict[str, dict[str, Any]] = {}

    def tell(name: str, environment: Environment | None, state: str = "online", **details: Any) -> None:
        document = {"name": name, "state": state, "environment": msgspec.to_builtins(environment)}
        notebook.client.environments[name] = document
        states[name] = {"name": name, "endpoint_id": f"id-{name}", "state": state, "details": details}

    monkeypatch.setattr(notebook.client, "get_endpoints", lambda: list(states.values()))
    return tell


def refused(ran: Any) -> str:
    assert isinstance(ran.error, EnvMismatch), ran.error
    return str(ran.error)


def test_a_cell_whose_module_is_missing_is_refused_with_what_to_do(notebook: Any, report: Any) -> None:
    report("local", THERE)
    report("lab-ws", TORCH)
    report("old", THERE)
    ran = notebook.run(f"%%funcx local\n{NEEDS_TORCH}")
    assert refused(ran) == (
        "the cell needs `torch`, which local does not have. Nothing was sent.\n"
        "  line 3:  import torch\n"
        f"  why:     no package of its workers has it (Python {PYTHON}.1, environment 8a1f03bc)\n"
        "  try:     lab-ws has torch 2.4: %%funcx lab-ws\n"
        "    or     --no-check  sends it all the same\n"
        "  more:    %funcx env local --diff"
    )
    assert ran.stdout.startswith("EnvMismatch [FX120]: the cell needs")
    assert notebook.client.submitted == []


def test_no_check_sends_it_all_the_same(notebook: Any, report: Any) -> None:
    report("local", THERE)
    ran = notebook.run("%%funcx --no-check\nimport torch_is_not_here")
    assert isinstance(ran.error, ModuleNotFoundError)
    assert len(notebook.client.submitted) == 1


@pytest.mark.parametrize(
    ("environment", "state"), [(None, "online"), (THERE, "offline"), (THERE, "registered")]
)
def test_what_is_not_known_or_away_is_no_obstacle(
    notebook: Any, report: Any, environment: Environment | None, state: str
) -> None:
    report("local", environment, state)
    assert isinstance(notebook.run("%%funcx\nimport torch_is_not_here").error, ModuleNotFoundError)


def test_an_agents_own_environment_refuses_nothing_and_is_told(notebook: Any, report: Any) -> None:
    report("local", msgspec.structs.replace(THERE, source="agent"))
    ran = notebook.run("%%funcx\nimport torch_is_not_here")
    assert isinstance(ran.error, ModuleNotFoundError)
    assert "local's agent has no torch_is_not_here; none of its workers has reported yet" in str(ran.shown)


CASES = {
    "a function of the notebook": (
        "def fit():\n    import torch",
        "fit()",
        "line 2:  fit()   (`fit` needs torch)",
    ),
    "a value": (
        "from decimal import Decimal\nimport yaml\nvalue = yaml.Dumper",
        "value",
        "(`value` needs yaml)",
    ),
    "a replayed import": ("import yaml as y", "print()\ny.dump", "line 3:  y.dump   (`y` needs yaml)"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_sent_with_the_cell_counts(notebook: Any, report: Any, case: str) -> None:
    before, cell, expected = CASES[case]
    report("local", THERE)
    notebook.good(before)
    assert expected in refused(notebook.run(f"%%funcx\n{cell}"))


def test_bytecode_is_refused_where_another_python_runs(notebook: Any, report: Any) -> None:
    report("local", msgspec.structs.replace(THERE, python="3.7.9"))
    notebook.good("bound = eval('lambda: 1')\ndef plain():\n    return 2")
    ran = notebook.good("%%funcx\nplain()")
    assert f"local: Python {PYTHON} here, 3.7 there" in str(ran.shown)
    text = refused(notebook.run("%%funcx\nbound()"))
    assert f"`bound` can only travel as bytecode of Python {PYTHON}" in text
    assert "3.7.9" in text


def test_another_major_version_is_told_once(notebook: Any, report: Any) -> None:
    report("local", THERE)
    shown = [str(notebook.good("%%funcx\nimport pandas\n1").shown) for _ in range(2)]
    assert ["99.1 there" in text for text in shown] == [True, False]
    assert "numpy" not in shown[0]


@pytest.mark.parametrize(
    "cell",
    [
        "try:\n    import torch\nexcept ImportError:\n    torch = None",
        "import json, os.path",
        "import sys\nsys.path.append('/opt')\nif False:\n    import torch",
        "def later():\n    from . import torch",
    ],
)
def test_what_need_not_be_there_is_not_missed(notebook: Any, report: Any, cell: str) -> None:
    report("local", THERE)
    notebook.good(f"%%funcx\n{cell}")


def test_a_cell_that_installs_packages_is_not_judged(notebook: Any, report: Any) -> None:
    report("local", THERE)
    cell = "%%funcx\nimport subprocess  # pip install\nimport torch_is_not_here"
    assert isinstance(notebook.run(cell).error, ModuleNotFoundError)


def test_nothing_is_refused_on_what_may_have_changed_since(notebook: Any, report: Any) -> None:
    report("local", THERE)
    notebook.good("%%funcx\n1")
    report("local", msgspec.structs.replace(THERE, modules={"torch_is_not_here": ""}))
    assert isinstance(notebook.run("%%funcx\nimport torch_is_not_here").error, ModuleNotFoundError)
    assert len(notebook.client.submitted) == 2


def test_a_module_beside_the_notebook_is_named_as_such(
    notebook: Any, report: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside_it.py").write_text("x = 1\n")
    report("local", THERE)
    text = refused(notebook.run("%%funcx\nimport beside_it"))
    assert "beside_it is not an installed package; import it in the notebook, not in the cell" in text


# --- dry run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "cell", "expected"),
    [
        (THERE, "import numpy", f"local fits: Python {PYTHON}.1, numpy 1.26.4"),
        (THERE, "import torch", "local lacks torch"),
        (None, "import torch", "local is not checked"),
        (msgspec.structs.replace(THERE, source="agent"), "1", "no worker has reported yet"),
    ],
    ids=["fits", "lacks", "unknown", "agent"],
)
def test_a_dry_run_tells_whether_it_fits(
    notebook: Any, report: Any, environment: Environment | None, cell: str, expected: str
) -> None:
    report("local", environment)
    assert expected in notebook.good(f"%%funcx --dry-run\n{cell}").manifest
    assert notebook.client.submitted == []


# --- auto ---------------------------------------------------------------------------------------------


def test_auto_takes_an_endpoint_that_fits_and_says_so(notebook: Any, report: Any) -> None:
    report("held", THERE, limit=8)
    report("local", TORCH, limit=2, queued=1)
    report("away", TORCH, "offline", limit=64)
    ran = notebook.run("%%funcx auto\nimport torch")
    assert isinstance(ran.error, ModuleNotFoundError)
    assert "auto → local (has torch 2.4; 1 task waiting)" in str(ran.shown)
    assert "→ local" in [shown["text/plain"] for shown in ran.shown]
    ran = notebook.good("%%funcx auto -b\n1")
    assert "auto → held (8 workers free)" in str(ran.shown)


def test_auto_is_refused_when_nothing_fits(notebook: Any, report: Any) -> None:
    report("local", THERE)
    text = refused(notebook.run("%%funcx auto\nimport torch"))
    assert "local: lacks torch" in text


def test_auto_needs_an_endpoint_that_is_online(notebook: Any, report: Any) -> None:
    report("local", THERE, "offline")
    ran = notebook.run("%%funcx auto\n1")
    assert "none of your endpoints is online" in ran.stdout + ran.stderr


def test_tags_are_not_checked(notebook: Any, report: Any) -> None:
    report("tag:gpu", THERE)
    ran = notebook.run("%%funcx tag:gpu\nimport torch")
    assert "No endpoint 'tag:gpu'" in str(ran.error)


# --- %funcx env ---------------------------------------------------------------------------------------


def test_env_compares_with_this_kernel(notebook: Any, report: Any) -> None:
    report("local", THERE)
    table = notebook.good("%funcx env local").result
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["accelerators"] == ["", "GPU 0: NVIDIA A100"]
    assert rows["memory"] == ["", "64 GB"]
    assert rows["pandas"][1] == "99.1"
    assert rows["msgspec"] == [msgspec.__version__, ""]
    assert "8a1f03bc, its workers'" in table.caption


def test_env_diff_leaves_out_what_is_the_same(notebook: Any, report: Any) -> None:
    same = msgspec.structs.replace(THERE, packages={"MsgSpec": msgspec.__version__, "pandas": "99.1"})
    report("local", same)
    rows = {row[0] for row in notebook.good("%funcx env --diff").result.rows}
    assert "pandas" in rows
    assert not rows & {"msgspec", "memory", "accelerators"}


def test_env_of_an_endpoint_that_told_nothing_is_said_plainly(notebook: Any, report: Any) -> None:
    report("local", None)
    ran = notebook.run("%funcx env local")
    assert "has not reported its environment" in ran.stdout + ran.stderr


def test_a_check_takes_no_time(notebook: Any, report: Any) -> None:
    from funcx_lab_magics.running.preflight import check

    packages = {f"package-{n}": "1" for n in range(2000)}
    modules = {f"package_{n}": f"package-{n}" for n in range(2000)}
    report("local", msgspec.structs.replace(TORCH, packages=packages, modules={**modules, **TORCH.modules}))
    notebook.good("import pandas\nframe = pandas.DataFrame({'a': range(1000)})")
    notebook.good("%%funcx --dry-run\nimport numpy\nframe.sum()")
    ready = notebook.magics.notebook.last
    durations = []
    for _ in range(5):
        begun = time.perf_counter()
        check(notebook.magics.notebook, ready)
        durations.append(time.perf_counter() - begun)
    assert min(durations) < 0.005
