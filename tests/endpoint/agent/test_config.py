"""The endpoint's config file: what is accepted, and errors that name the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from funcx_lab.errors import ConfigError
from funcx_lab_endpoint.config import Config, load_config, template

HEADER = "from funcx_lab_endpoint.config import Config\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.py"
    path.write_text(text)
    return path


def test_template_loads_and_is_short(tmp_path: Path) -> None:
    text = template("cluster")
    config = load_config(write(tmp_path, text))
    assert (config.engine, config.max_blocks, config.executors) == ("htex", 1, ())
    assert "cluster" in text
    assert len(text.splitlines()) < 20


def test_loading_needs_no_parsl(tmp_path: Path) -> None:
    path = write(tmp_path, template("a"))
    code = (
        "import sys, pathlib\nfrom funcx_lab_endpoint.config import load_config\n"
        f"load_config(pathlib.Path({str(path)!r}))\nprint([m for m in ('parsl', 'zmq') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_any_parsl_config_is_taken_unchanged(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from parsl.config import Config\nfrom parsl.executors import HighThroughputExecutor\n"
        "config = Config(executors=[HighThroughputExecutor(label='mine', address='127.0.0.1')])\n",
    )
    config = load_config(path)
    assert [executor.label for executor in config.executors] == ["mine"]
    assert config.parsl_config.executors[0] is config.executors[0]


def test_a_launcher_replaces_the_providers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEADER + "from parsl.launchers import SrunLauncher\nfrom parsl.providers import LocalProvider\n"
        "config = Config(provider=LocalProvider(), launcher=SrunLauncher())\n",
    )
    assert type(load_config(path).provider.launcher).__name__ == "SrunLauncher"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1\nconfig = Config(\n", 2, "SyntaxError"),
        ("x = 1\n\nconfig = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("def helper():\n    raise OSError('no disk')\n\nhelper()\n", 2, "OSError: no disk"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("import no_such_thing\n", 1, "No module named 'no_such_thing'"),
        ("x = 1\n", None, '"config" is defined'),
        ("\n\nconfig = {'engine': 'htex'}\n", 3, "not builtins.dict"),
        (HEADER + "config = Config(engine='threads')\n", 2, 'must be "htex" or "processes"'),
        (HEADER + "config = Config(max_workers_per_node=0)\n", 2, "max_workers_per_node must be a number"),
        (HEADER + "config = Config(max_blocks='4')\n", 2, "max_blocks must be a number"),
        (HEADER + "config = Config(min_blocks=3)\n", 2, "must not be over max_blocks"),
        (HEADER + "config = Config(working_directory='data')\n", 2, "working_directory must be a path"),
        (HEADER + "config = Config(workers=3)\n", 2, "unexpected keyword argument 'workers'"),
        (HEADER + "config = Config(provider=object(), executors=[1])\n", 2, "exclude each other"),
        (HEADER + "config = Config(provider=object(), engine='processes')\n", 2, "leave out provider"),
        (HEADER + "config = Config(executors=[1])\n", 2, "must be Parsl executors, not int"),
        (HEADER + "config = Config(launcher=object())\n", 2, "launcher needs a provider"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.details == {"file": str(path), "line": line}
    assert str(path) in caught.value.message
    assert says in caught.value.message
    if line is not None:
        assert f"line {line}:" in caught.value.message


def test_parsl_threads_are_refused_with_their_line(tmp_path: Path) -> None:
    text = (
        "from parsl.config import Config\nfrom parsl.executors import ThreadPoolExecutor\n"
        "threads = ThreadPoolExecutor()\nconfig = Config(executors=[threads])\n"
    )
    with pytest.raises(ConfigError, match=r"line 4: Parsl's ThreadPoolExecutor cannot be used"):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.py cannot be read"):
        load_config(tmp_path / "config.py")


def test_a_config_can_be_made_in_python() -> None:
    assert Config(max_workers_per_node=2).max_workers_per_node == 2
