"""What `make` says to a machine that lacks something."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_old_python_is_refused_with_a_way_out(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "MINIMUM", (3, 99))
    monkeypatch.setattr(
        bootstrap.shutil, "which", lambda name: "/usr/bin/python3.12" if name == "python3.12" else None
    )
    with pytest.raises(SystemExit) as end:
        bootstrap.main(".venv", [])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "needs Python 3.99 or newer" in said
    assert "make PYTHON=python3.12" in said


def test_the_script_can_be_read_by_old_pythons() -> None:
    """The newest syntax in it is that of Python 3.6."""
    import ast

    ast.parse((ROOT / "scripts" / "bootstrap.py").read_text(), feature_version=(3, 6))


def test_without_root_the_missing_debian_package_is_named(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit):
        bootstrap.make_venv(str(tmp_path / "venv"))
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in capsys.readouterr().err


def test_without_root_what_slow_tests_need_is_named(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None if name == "strace" else name)
    bootstrap.install_test_programs()
    assert capsys.readouterr().out == "Some slow tests will need: sudo apt install strace\n"
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    bootstrap.install_test_programs()
    assert capsys.readouterr().out == ""


def test_a_failing_step_shows_what_it_said(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bootstrap.run("Trying", [sys.executable, "-c", "import sys; print('no space left'); sys.exit(1)"])
    assert "no space left" in capsys.readouterr().out


def test_make_lists_its_targets() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = ("install", "demo", "lab", "labextension", "test", "check", "bench", "fmt", "release", "clean")
    for target in targets:
        assert f"  make {target} " in said
