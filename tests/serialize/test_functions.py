"""Functions travel as source: in one process, between processes, between Python versions."""

import functools
import json
import linecache
import os
import shutil
import subprocess
import sys
import textwrap
import traceback
import types
from pathlib import Path

import pytest

from funcx_lab import serialize
from funcx_lab.errors import CannotDeserialize, CannotSerialize, MalformedMessage, PythonMismatch, UsageError
from funcx_lab.protocol import payload

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FACTOR = 7
OPEN_FILE = Path(__file__).open()  # noqa: SIM115  # a global that cannot be sent
OPEN_FILE.close()


def run(*command, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def there_and_back(function):
    return serialize.unpack_function(serialize.pack_function(function).body, task_id="t")


def make_module(name, text, folder, monkeypatch):
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    module = types.ModuleType(name)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


def other_pythons():
    found = {}
    for minor in (10, 11, 12, 13):
        if minor == sys.version_info.minor:
            continue
        known = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        command = str(known[-1]) if known else shutil.which(f"python3.{minor}")
        if command is not None:
            found[f"3.{minor}"] = command
    return found


def test_a_script_of_awkward_functions_gives_the_same_answers_elsewhere(tmp_path):
    run(sys.executable, HERE / "corpus.py", "pack", tmp_path)
    formats = {payload.read_header(f.read_bytes())[0].format for f in tmp_path.glob("*.function")}
    run(sys.executable, HERE / "runner.py", tmp_path)
    run(sys.executable, HERE / "corpus.py", "check", tmp_path)
    assert formats == {"source"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_source_crosses_python_versions_and_bytecode_is_refused(tmp_path):
    for version, command in other_pythons().items():
        python = tmp_path / version / "bin" / "python"
        run(command, "-m", "venv", tmp_path / version)
        pip = {
            key: value for key, value in os.environ.items() if key.startswith(("PIP_", "HOME", "HTTP", "SSL"))
        }
        run(python, "-m", "pip", "install", "-q", "dill", "msgspec", **pip)
        for here, there in ((sys.executable, python), (python, sys.executable)):
            folder = tmp_path / f"{version}-{here is python}"
            folder.mkdir()
            run(here, HERE / "corpus.py", "pack", folder)
            run(there, HERE / "runner.py", folder)
            run(here, HERE / "corpus.py", "check", folder)
        script = (
            "import sys; from funcx_lab import serialize\n"
            "f = eval('lambda x: [y for y in range(x)]')\n"
            "sys.stdout.buffer.write(serialize.pack_function(f).body)"
        )
        body = subprocess.run(
            [python, "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
        ).stdout
        with pytest.raises(PythonMismatch, match=version):
            serialize.unpack_function(body, task_id="t")
    test_bytecode_of_another_python_is_refused_before_it_is_loaded()


def test_bytecode_of_another_python_is_refused_before_it_is_loaded():
    without_source = eval("lambda x: x + 1")
    body = serialize.pack_function(without_source).body
    header, parts = payload.unpack(body)
    assert (header.format, header.python) == ("dill", payload.PYTHON)
    assert serialize.unpack_function(body, task_id="t")(1) == 2

    poison = b"cos\n_exit\n(I3\ntR."  # would end this process
    foreign = payload.pack("dill", [poison], python="3.9").tobytes()
    with pytest.raises(PythonMismatch, match=r"3\.9"):
        serialize.unpack_function(foreign, task_id="t")
    assert parts


def test_bytecode_inside_a_source_payload_is_refused_as_well():
    from funcx_lab.serialize import rebuild

    with pytest.raises(PythonMismatch):
        rebuild.load_dill("3.9", b"")


def test_lambdas_on_one_line_are_told_apart():
    first, second, third = (lambda x: x + 1), (lambda x: x + 2), (lambda x: x + 1)
    assert [there_and_back(f)(10) for f in (first, second, third)] == [11, 12, 11]


def test_globals_are_those_of_the_moment_of_packing(monkeypatch):
    def times(x):
        return x * FACTOR

    body = serialize.pack_function(times).body
    monkeypatch.setitem(globals(), "FACTOR", 100)
    assert serialize.unpack_function(body, task_id="t")(2) == 14
    assert there_and_back(times)(2) == 200


def test_functions_of_one_payload_share_their_globals(tmp_path, monkeypatch):
    module = make_module(
        "beside",
        """
        count = 0
        def add():
            global count
            count += 1
        def total():
            add(); add()
            return count
        """,
        tmp_path,
        monkeypatch,
    )
    there = there_and_back(module.total)
    assert (there(), there()) == (2, 4)
    assert module.count == 0


def test_a_closure_cell_shared_by_two_functions_stays_shared():
    def pair():
        n = 0

        def up():
            nonlocal n
            n += 1

        def get():
            return n

        return [up, get]

    made = pair()
    (up, get), _ = serialize.unpack_arguments(serialize.pack_arguments(tuple(made), {}).tobytes())
    up()
    up()
    assert get() == 2


def test_a_module_beside_the_notebook_travels_with_what_is_used_of_it(tmp_path, monkeypatch):
    helper = make_module(
        "helper_beside",
        """
        import math as m
        scale = 10
        class Box:
            def __init__(self, x): self.x = x
            def area(self): return m.ceil(self.x) * scale
        def area(x): return Box(x).area()
        handle = open(__file__)
        handle.close()
        """,
        tmp_path,
        monkeypatch,
    )
    user = make_module(
        "user_beside", "def use(x): return helper.area(x) + helper.scale", tmp_path, monkeypatch
    )
    user.helper = helper
    body = serialize.pack_function(user.use).body
    monkeypatch.delitem(sys.modules, "helper_beside")
    monkeypatch.delitem(sys.modules, "user_beside")
    assert serialize.unpack_function(body, task_id="t")(1.5) == 30


def test_stale_source_is_noticed(tmp_path, monkeypatch):
    module = make_module("stale", "def f(x):\n    return x + 1\n", tmp_path, monkeypatch)
    path = tmp_path / "stale.py"
    path.write_text("def f(x):\n    return x + 2\n")
    linecache.checkcache(str(path))
    packed = serialize.pack_function(module.f)
    assert payload.read_header(packed.body)[0].format == "dill"
    assert serialize.unpack_function(packed.body, task_id="t")(1) == 2

    path.write_text("# a line more\n\ndef f(x):\n    return x + 1\n")
    linecache.checkcache(str(path))
    packed = serialize.pack_function(module.f)
    assert payload.read_header(packed.body)[0].format == "source"


def test_the_traceback_shows_the_users_lines_and_not_their_folders(tmp_path, monkeypatch):
    module = make_module(
        "failing", "\n\n\ndef fail(x):\n    y = x\n    return 1 / y\n", tmp_path, monkeypatch
    )
    function = there_and_back(module.fail)
    linecache.clearcache()
    function = there_and_back(module.fail)
    with pytest.raises(ZeroDivisionError) as caught:
        function(0)
    text = "".join(traceback.format_exception(caught.value))
    assert "failing.py fail" in text
    assert "line 6, in fail\n    return 1 / y" in text
    assert str(tmp_path) not in text


def test_what_cannot_be_sent_is_named_with_its_line(tmp_path, monkeypatch):
    module = make_module(
        "refused",
        """
        handle = open(__file__)
        handle.close()
        def reads():
            x = 1
            return handle.read(), x
        def calls(q): return reads()
        """,
        tmp_path,
        monkeypatch,
    )
    with pytest.raises(CannotSerialize) as caught:
        serialize.pack_function(module.calls)
    message = str(caught.value)
    assert "`reads` uses `handle` at line 6" in message
    assert "return handle.read(), x" in message
    assert "open file" in message
    assert caught.value.details == {"name": "handle", "line": 6, "function": "reads"}


def test_a_default_and_a_closure_that_cannot_be_sent_are_named():
    def outer(handle):
        return lambda: handle.read()

    with pytest.raises(CannotSerialize, match="uses `handle` at line"):
        serialize.pack_function(outer(OPEN_FILE))
    with pytest.raises(CannotSerialize, match="uses `source` at line"):
        serialize.pack_function(lambda source=OPEN_FILE: source)


def test_an_unused_global_that_cannot_be_sent_does_no_harm():
    assert there_and_back(lambda: FACTOR)() == FACTOR


def test_a_function_over_the_limit_names_the_largest_part(tmp_path, monkeypatch):
    module = make_module(
        "large", "data = bytes(11_000_000)\ndef f(): return len(data)\n", tmp_path, monkeypatch
    )
    with pytest.raises(CannotSerialize, match=r"`data` \(11,0.*argument"):
        serialize.pack_function(module.f)


def test_what_is_not_callable_is_refused():
    with pytest.raises(UsageError):
        serialize.pack_function(3)  # type: ignore[arg-type]  # the point of the test


def test_packing_twice_gives_the_same_bytes():
    def f(x):
        return functools.reduce(max, [x, FACTOR])

    assert serialize.pack_function(f) == serialize.pack_function(f)
    assert serialize.pack_function(f).name == "f"


def test_a_missing_module_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    make_module("absent_package", "def f(): return 1", folder, monkeypatch)
    body = serialize.pack_function(sys.modules["absent_package"].f).body
    monkeypatch.delitem(sys.modules, "absent_package")
    with pytest.raises(CannotDeserialize, match="absent_package") as caught:
        serialize.unpack_function(body, task_id="t7")
    assert caught.value.details["task_id"] == "t7"


def test_a_value_is_not_taken_for_a_function():
    with pytest.raises(MalformedMessage):
        serialize.unpack_function(payload.pack("source", [b"\x80\x05K\x01."]).tobytes(), task_id="t")
    with pytest.raises(MalformedMessage):
        serialize.unpack_function(serialize.pack_value(3).tobytes(), task_id="t")


IPYTHON_SESSION = '''
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from funcx_lab import serialize

shell = InteractiveShell.instance()
def cell(text):
    shell.run_cell(text, store_history=True).raise_error()

cell("import numpy as np\\nfrom math import sqrt as s\\nSCALE = 3")
cell("""
class Vector:
    def __init__(self, x): self.x = x
    def length(self): return float(np.sqrt(self.x ** 2)) * SCALE
""")
cell("""
from dataclasses import dataclass
@dataclass
class Record:
    name: str
    value: int = 3
""")
cell("def f(x):\\n    return Vector(x).length() + s(4)\\ng, h = (lambda x: x + 1), (lambda x: x * SCALE)")
cell("%time def timed(x): return np.sum(x)")
cell("async def later(x): return Record(x)\\nawait later('warm')")
space = shell.user_ns
bodies = {name: serialize.pack_function(space[name]).body.hex() for name in ("f", "g", "h", "timed", "later")}
sent = [space["Vector"](2), space["Record"]("a")]
value = serialize.unpack_value(serialize.pack_value(sent).tobytes())
same = [type(v).__name__ for v in value if isinstance(v, (space["Vector"], space["Record"]))]
cell("class Vector:\\n    def length(self): return 1")  # run again, changed
again = serialize.pack_function(space["f"]).body.hex()
print(json.dumps({"bodies": bodies, "same": same, "again": again}))
'''


def test_functions_and_classes_of_ipython_cells_travel_as_source(tmp_path):
    out = run(sys.executable, "-c", IPYTHON_SESSION, HOME=str(tmp_path), IPYTHONDIR=str(tmp_path))
    said = json.loads(out.strip().splitlines()[-1])
    assert said["same"] == ["Vector", "Record"]
    bodies = {name: bytes.fromhex(body) for name, body in said["bodies"].items()}
    formats = {name: payload.read_header(body)[0].format for name, body in bodies.items()}
    assert formats == dict.fromkeys(("f", "g", "h", "later"), "source") | {"timed": formats["timed"]}
    there = {name: serialize.unpack_function(body, task_id="t") for name, body in bodies.items()}
    assert there["f"](2) == 8.0
    assert (there["g"](2), there["h"](2), there["timed"]([1, 2])) == (3, 6, 3)
    assert there["later"]("x").value == 3
    with pytest.raises(TypeError):  # the class as it was when f was packed again takes no argument
        serialize.unpack_function(bytes.fromhex(said["again"]), task_id="t")(2)
