"""Names that would be paths, and links where files should be (T19)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.config import write_private
from funcx_lab.errors import FuncxLabError, InvalidName
from funcx_lab_endpoint.files import EndpointFiles

PATHS = [
    *(
        "..",
        ".",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "",
        " ",
        "-rf",
        "--help",
        "~",
        "$HOME",
    ),
    *(
        "A",
        "\u00e9",
        "\uff41",
        "a\u0301",
        "\u202ea",
        "a" * 64,
        "con:",
        "a.b",
        "%2e%2e",
        "a;b",
        "a|b",
        "a`b`",
        "*",
        "a b",
    ),
]


@pytest.mark.parametrize("name", PATHS, ids=ascii)
def test_an_endpoints_name_is_no_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ada: Any
) -> None:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    with pytest.raises(InvalidName):
        EndpointFiles(name).create()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} <= {
        "home",
        "home/endpoints",
    }
    assert ada("POST", "/v3/endpoints", {"endpoint_name": name}).document["code"] == "INVALID_NAME"


@pytest.mark.parametrize("link", ["endpoints", "endpoints/victim"])
def test_a_symlink_in_the_place_of_a_directory(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by somebody else in a home that was open to others: nothing is written behind it."""
    home, trap = tmp_path / "home", tmp_path / "trap"
    trap.mkdir()
    (home / link).parent.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / link).symlink_to(trap)
    monkeypatch.setenv("FUNCX_LAB_HOME", str(home))
    files = EndpointFiles("victim")
    with contextlib.suppress(FuncxLabError, OSError):
        files.create()
    foreign = [path for path in trap.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert foreign == []


def test_a_planted_link_in_the_place_of_a_private_file(tmp_path: Path) -> None:
    """What is written goes into a new file, not through the link."""
    victim, link = tmp_path / "victim", tmp_path / "token"
    victim.write_text("mine")
    link.symlink_to(victim)
    write_private(link, "secret")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
    assert stat.S_IMODE(link.stat().st_mode) == 0o600


def test_objects_of_the_service_are_files_with_names_of_its_own(hub: Any, ada: Any) -> None:
    before = {path for path in hub.home.parent.rglob("*") if "objects" not in path.parts}
    for name in (
        "../" * 8 + "etc/passwd",
        "..",
        "%2e%2e%2fx",
        "A" * 64,
        "g" * 64,
        "\0" * 64,
        "0" * 63,
        "0" * 65,
    ):
        quoted = name.replace("/", "%2f").replace("\0", "%00")
        for verb in ("PUT", "GET", "HEAD"):
            assert ada(verb, f"/v3/objects/{quoted}", body=b"x" if verb == "PUT" else None).status in (
                400,
                404,
            )
    data = b"content"
    digest = hashlib.sha256(data).hexdigest()
    assert ada("PUT", f"/v3/objects/{digest}", body=data).status == 201
    assert {path for path in hub.home.parent.rglob("*") if "objects" not in path.parts} == before
    found = [path.name for path in (hub.data / "objects").rglob("*") if path.is_file()]
    assert digest in found
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in found)


def test_a_linked_object_does_not_lead_out(hub: Any, ada: Any, tmp_path: Path) -> None:
    """Who can write into the service's directory has won anyway; but no request alone makes a link."""
    data = b"another object"
    digest = hashlib.sha256(data).hexdigest()
    assert ada("PUT", f"/v3/objects/{digest}", body=data).status == 201
    assert not [path for path in hub.data.rglob("*") if path.is_symlink()]


def test_a_home_that_others_may_enter_is_refused_or_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("FUNCX_LAB_HOME", str(home))
    files = EndpointFiles("open")
    old = os.umask(0o000)
    try:
        files.create()
    finally:
        os.umask(old)
    for path in (files.directory, files.directory.parent, home):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
