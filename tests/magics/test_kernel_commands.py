"""Commands, ``%autofuncx`` and remote functions in a real kernel against the real hub service."""

from __future__ import annotations

from tests.magics.kernels import Kernel, plain, streams


def value(kernel: Kernel, cell: str) -> str:
    (found,) = plain(kernel.run(cell), "execute_result")
    return found


def test_who_and_where(kernel: Kernel) -> None:
    who = value(kernel, "%funcx whoami")
    assert "hub service  local" in who
    assert "it is your own" in who


def test_a_function_of_the_notebook_is_registered_listed_and_called(kernel: Kernel) -> None:
    kernel.run("import funcx_lab\nfxc = funcx_lab.FuncXClient()\ndef triple(x):\n    return 3 * x")
    kernel.run("registered = %funcx register triple -d 'three times'")
    listed = value(kernel, "%funcx functions tri")
    assert "triple" in listed
    assert "three times" in listed
    assert value(kernel, "fxc.get_result(fxc.run(7, function_id=registered), timeout=60)") == "21"
    assert value(kernel, "len(fxc.get_functions('nosuch'))") == "0"


def test_one_line(kernel: Kernel) -> None:
    assert value(kernel, "%funcx run -o none -- __import__('os').getpid() != 0") == "True"


def test_what_a_task_computed_is_told_for_a_paper(kernel: Kernel) -> None:
    kernel.run("%%funcx -n growth\nimport msgspec\nlen(msgspec.json.encode([1]))")
    (said,) = [streams(kernel.run("%funcx cite"), "stdout").strip()]
    assert said.startswith("growth was computed on local (")
    for text in ("with Python 3.", "funcx-lab 0.", ", code ", ", inputs ", ", task 0"):
        assert text in said
    assert value(
        kernel, "sorted(_cite) if (_cite := get_ipython().run_line_magic('funcx', 'cite --json')) else 0"
    )
    kernel.run("%%funcx --no-raise -n broken\n1 / 0")
    assert streams(kernel.run("%funcx cite"), "stdout").startswith("broken is failed on local (")


def test_every_cell_until_it_is_off(kernel: Kernel) -> None:
    kernel.run("import os\nhere = os.getpid()\n%autofuncx local")
    outputs = kernel.run("there = os.getpid()\nprint('printed there')\n%config FuncX.quiet\nthere != here")
    assert plain(outputs, "execute_result")[-1] == "True"
    assert streams(outputs, "stdout") == "printed there\n"
    assert "autofuncx: on local" in outputs[0]["data"]["text/plain"]
    kernel.run("%autofuncx off")
    assert value(kernel, "os.getpid() == here") == "True"


def test_remote_functions(kernel: Kernel) -> None:
    kernel.run(
        "import funcx_lab, os\n"
        "@funcx_lab.function(label='half')\n"
        "def half(x):\n"
        "    return x / 2, os.getpid()\n"
        "@funcx_lab.function(endpoint='local', retries=1)\n"
        "def twice(x):\n"
        "    first, there = half(x)\n"
        "    return half(first)[0], there"
    )
    assert value(kernel, "half(8)[1] == os.getpid()") == "True"
    assert value(kernel, "twice.remote(8)[0], twice.remote(8)[1] != os.getpid()") == "(2.0, True)"
    assert value(kernel, "[future.result(60)[0] for future in half.map([2, 4])]") == "[1.0, 2.0]"
    assert value(kernel, "half.spawn(6).result(60)[0]") == "3.0"
    assert "half" in value(kernel, "fxc.get_tasks(label='half')")
    kernel.run("%%funcx\nvalue, there = half(10)")
    assert value(kernel, "value, there != os.getpid()") == "(5.0, True)"
    assert value(kernel, "half") == "<RemoteFunction half on the default endpoint, label='half'>"


def test_objects_show_themselves(kernel: Kernel) -> None:
    for thing in ("fxc", "fxc.get_endpoints()", "fxc.get_tasks()", "half.spawn(2)", "funcx_lab.Executor()"):
        (shown,) = [each for each in kernel.run(thing) if each["type"] == "execute_result"]
        assert "fx-repr" in shown["data"]["text/html"]
        for text in shown["data"].values():
            assert "127.0.0.1" not in str(text)
