"""Scripts and required packages in a real kernel, over the real service and its endpoint ``local``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint.engine.wheels import make_wheels, pip_variables
from tests.magics.kernels import Kernel, plain, running_kernel, streams

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    home, wheels = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("wheels")
    make_wheels(wheels)
    with running_kernel(home, HOME=str(home), **pip_variables(wheels)) as kernel:
        yield kernel


def test_a_script_runs_and_its_value_is_the_exit_code(kernel: Kernel) -> None:
    kernel.run("sample, count = 'it\\'s a', 2")
    outputs = kernel.run(
        "%%funcx --shell -i sample,count\n"
        'for i in $(seq $count); do echo "$sample $i"; done\necho oh >&2\nexit 3'
    )
    assert streams(outputs, "stdout") == "it's a 1\nit's a 2\n"
    assert streams(outputs, "stderr") == "oh\n"
    (value,) = plain(outputs, "execute_result")
    assert value.startswith("exit code 3 after")
    assert "it's a" not in value
    assert plain(kernel.run("_.stdout"), "execute_result") == [repr("it's a 1\nit's a 2\n")]


def test_a_shell_function_is_submitted_like_any(kernel: Kernel) -> None:
    kernel.run("import funcx_lab; from funcx_lab import FuncXClient, ShellFunction; fxc = FuncXClient()")
    outputs = kernel.run(
        "count = ShellFunction('wc -c < {path}', check=True)\n"
        "print(fxc.submit(count, '/dev/null').result(30))\n"
        "try:\n    fxc.submit(count, '/nowhere').result(30)\n"
        "except funcx_lab.errors.ShellError as err:\n    print(err)"
    )
    assert streams(outputs, "stdout").startswith("0\n\n'wc -c < /nowhere' ended with exit code 1.\n")
    assert "/nowhere: No such file" in streams(outputs, "stdout")


def test_a_cell_gets_the_packages_that_it_requires(kernel: Kernel, tmp_path: Path) -> None:
    cell = "%%funcx --requires 'gadget>=2'\nimport gadget\nprint('runs')\nversion = gadget.version\nversion"
    outputs = kernel.run(cell)
    assert "requires gadget>=2" in outputs[0]["data"]["text/plain"]
    text = streams(outputs, "stdout")
    assert "building an environment with gadget>=2" in text
    assert text.endswith("runs\n")
    assert plain(outputs, "execute_result") == ["'2.0'"]
    assert streams(kernel.run(cell), "stdout") == "runs\n"
    missing = kernel.run("%%funcx --requires 'gadget>=3'\nimport gadget")[-1]
    assert missing["ename"] == "RequirementsFailed"
