"""What a process finds of its environment: packages, what can be imported, accelerators."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec
import pytest

from funcx_lab.environments import report as environment
from funcx_lab.environments.report import (
    find_accelerators,
    find_installed,
    fingerprint,
    hash_of,
    look,
    version_here,
)
from funcx_lab.protocol.environment import Environment


def install(site: Path, name: str, version: str, record: str = "", top_level: str = "") -> Path:
    """Make a distribution as pip leaves it."""
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n")
    (about / "RECORD").write_text(record)
    if top_level:
        (about / "top_level.txt").write_text(top_level)
    return about


def test_packages_are_found_with_the_names_under_which_they_are_imported(tmp_path: Path) -> None:
    install(tmp_path, "scikit-learn", "1.5.2", "sklearn/__init__.py,sha256=x,1\nscikit_learn.libs/a.so,,\n")
    install(tmp_path, "PyYAML", "6.0", top_level="_yaml\nyaml\n")
    install(
        tmp_path, "six", "1.16", "six.py,sha256=x,1\n__pycache__/six.cpython-311.pyc,,\n../../bin/six,,\n"
    )
    install(tmp_path, "fast", "2", "fast.cpython-311-x86_64-linux-gnu.so,,\n")
    found = find_installed([str(tmp_path)])
    assert found.packages == {"PyYAML": "6.0", "fast": "2", "scikit-learn": "1.5.2", "six": "1.16"}
    assert found.modules == {
        **{"sklearn": "scikit-learn", "yaml": "PyYAML", "_yaml": "PyYAML", "six": "six", "fast": "fast"}
    }


def test_what_no_package_claims_is_found_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("")
    (tmp_path / "native.abi3.so").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "not-a-name").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert find_installed([str(tmp_path)]).modules == {"tools": "", "native": "", "package": ""}


def test_folders_of_the_working_directory_are_no_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holidays").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    assert find_installed([""]).modules == {"package": ""}


def test_the_first_of_two_versions_counts(tmp_path: Path) -> None:
    install(tmp_path / "a", "torch", "2.4", "torch/__init__.py,,\n")
    install(tmp_path / "b", "Torch", "1.13", "torch/__init__.py,,\n")
    assert find_installed([str(tmp_path / "a"), str(tmp_path / "b")]).packages == {"torch": "2.4"}


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    good = install(tmp_path, "good", "1", "good.py,,\n")
    bad = install(tmp_path, "bad", "1")
    (bad / "METADATA").write_bytes(b"\xff\xfe\x00")
    (install(tmp_path, "empty", "1") / "METADATA").write_text("")
    assert find_installed([str(tmp_path), str(tmp_path / "no"), str(good / "METADATA")]).packages == {
        "good": "1"
    }


def test_the_hash_is_that_of_python_and_packages_whatever_their_order() -> None:
    packages = {"numpy": "2.0", "scikit-learn": "1.5"}
    known = hash_of("3.11.7", packages)
    assert known == hash_of("3.11.7", {"Scikit_Learn": "1.5", "numpy": "2.0"})
    assert len({known, hash_of("3.12.0", packages), hash_of("3.11.7", {**packages, "numpy": "2.1"})}) == 3


def test_an_installation_changes_the_fingerprint(tmp_path: Path) -> None:
    before = fingerprint([str(tmp_path), "/nowhere"])
    assert fingerprint([str(tmp_path), "/nowhere"]) == before
    install(tmp_path, "new", "1")
    assert fingerprint([str(tmp_path), "/nowhere"]) != before


def test_this_process_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    here = look("worker", limits={"workers": 4})
    assert here.version_of("msgspec") == version_here("msgspec") == msgspec.__version__
    assert here.minor == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (here.visible_devices, here.limits, here.source) == ("0,1", {"workers": 4}, "worker")
    assert here.cores > 0 < here.memory
    assert "json" not in here.modules
    assert msgspec.json.decode(msgspec.json.encode(here), type=Environment) == here
    assert repr(here).startswith("<Environment Python 3")


def test_a_variable_that_is_no_text_can_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0\udcff" + "1" * 400)
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(look("worker", [])), type=Environment)
    assert told.visible_devices == "0?" + "1" * 298


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{text}\n")
    (folder / name).chmod(0o755)


LISTED = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5a1c)\\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-77)"
CARDS = "GPU[0]\\t\\t: Card Series: \\t\\tInstinct MI250"
NVIDIA = ["GPU 0: NVIDIA A100-SXM4-40GB", "GPU 1: NVIDIA A100-SXM4-40GB"]


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ({}, []),
        ({"nvidia-smi": f"print('{LISTED}')"}, NVIDIA),
        ({"nvidia-smi": "raise SystemExit(9)"}, []),
        ({"rocm-smi": f"print('{CARDS}')"}, ["GPU[0]\t\t: Card Series: \t\tInstinct MI250"]),
    ],
    ids=["none", "nvidia", "driver fails", "rocm"],
)
def test_accelerators_are_those_that_their_programs_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: dict[str, str], expected: list[str]
) -> None:
    for name, text in programs.items():
        program(tmp_path / "bin", name, text)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_accelerators() == expected


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", "import time; time.sleep(60)")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(environment, "PROGRAM_S", 0.3)
    begun = time.monotonic()
    assert find_accelerators() == []
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "x"},
        {"source": "nobody"},
        {"packages": {"numpy": 2}},
        {"packages": {"x" * 301: "1"}},
        {"accelerators": ["gpu"] * 257},
        {"memory": -1},
    ],
    ids=str,
)
def test_a_report_of_another_form_is_refused(change: dict[str, object]) -> None:
    good = {"source": "worker", "python": "3.11.7", "hash": "0" * 64, "packages": {}, "modules": {}}
    text = json.dumps(good)
    assert msgspec.json.decode(text, type=Environment).cores == 0
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**good, **change}, Environment)
