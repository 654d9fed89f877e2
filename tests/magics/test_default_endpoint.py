"""Where a cell goes whose line names no endpoint: the line, this kernel, the notebook, the configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from funcx_lab.config import write_private
from funcx_lab_magics.default_endpoint import NOTEBOOK, Default, DefaultEndpoint, told_file
from funcx_lab_magics.settings import FuncX


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    path = tmp_path / "räumé 1.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    _save(path, "of-the-file")
    return path


def _save(path: Path, endpoint: object) -> None:
    path.write_text(json.dumps({"cells": [], "metadata": {"funcx": {"default_endpoint": endpoint}}}))


def _tell(path: Path, endpoint: str | None) -> None:
    told = told_file(path)
    told.parent.mkdir(exist_ok=True)
    write_private(told, json.dumps({"path": str(path), "default_endpoint": endpoint}))


def _default(settings: FuncX, file: Path | None) -> Default:
    return DefaultEndpoint(settings, lambda: file).find()


def test_each_one_who_says_something_comes_before_the_next(file: Path) -> None:
    settings = FuncX(config=Config({"FuncX": {"endpoint": "of-the-profile"}}))
    assert _default(FuncX(), None) == Default("local", "built in")
    assert _default(settings, None) == Default("of-the-profile", "IPython's configuration")
    assert _default(settings, file) == Default("of-the-file", NOTEBOOK)
    _tell(file, "told")
    assert _default(settings, file) == Default("told", NOTEBOOK)
    settings.endpoint = "set"
    assert _default(settings, file) == Default("set", "set here")
    settings.reset()
    assert _default(settings, file).name == "told"


def test_the_server_has_the_last_word_on_a_file_that_was_not_saved_yet(file: Path) -> None:
    _tell(file, None)
    assert _default(FuncX(), file) == Default("local", "built in")


def test_a_change_is_seen_by_the_next_cell_and_a_file_is_read_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = DefaultEndpoint(FuncX(), lambda: file)
    _tell(file, "first")
    assert default.find().name == "first"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("read again"))
        assert default.find().name == "first"
    _tell(file, "second")
    assert default.find().name == "second"
    os.unlink(told_file(file))
    assert default.find().name == "of-the-file"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metadata": 3}', '{"metadata": {"funcx": null}}', "\x00"])
def test_a_file_that_says_nothing_sensible_is_passed_over(file: Path, text: str) -> None:
    file.write_text(text)
    assert _default(FuncX(), file).origin == "built in"
    told_file(file).parent.mkdir(exist_ok=True)
    told_file(file).write_text(text)
    assert _default(FuncX(), file).origin == "built in"


@pytest.mark.parametrize("name", [7, ["a"], {"a": 1}, "  "])
def test_what_is_no_name_is_passed_over(file: Path, name: object) -> None:
    _save(file, name)
    assert _default(FuncX(), file).name == "local"


def test_a_cell_goes_where_the_notebook_says_unless_its_line_or_this_kernel_do(
    notebook: Any, file: Path
) -> None:
    _tell(file, "held")
    assert "→ held" in notebook.good("%%funcx --dry-run\n1").manifest
    assert "→ local" in notebook.good("%%funcx local --dry-run\n1").manifest
    notebook.good("%funcx config -e local")
    assert "→ local" in notebook.good("%%funcx --dry-run\n1").manifest
    notebook.good("%funcx config --reset")
    assert "→ held" in notebook.good("%%funcx --dry-run\n1").manifest


def test_config_says_who_says_what(notebook: Any, file: Path) -> None:
    _tell(file, "held")
    rows = {row[0]: row[1:3] for row in notebook.good("%funcx config --quiet").result.rows}
    assert rows["endpoint"] == ["held", NOTEBOOK]
    assert rows["quiet"] == ["True", "set here"]
    assert rows["out"] == ["auto", "built in"]
    rows = {row[0]: row[1:3] for row in notebook.good("%funcx config -e local").result.rows}
    assert rows["endpoint"] == ["local", "set here"]


def test_the_profile_is_not_told_what_the_notebook_says(notebook: Any, file: Path, tmp_path: Path) -> None:
    _tell(file, "held")
    assert notebook.magics.notebook.settings.changed() == {}


def test_the_only_endpoint_of_a_service_elsewhere_is_meant_where_nobody_says_anything(
    notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, url = notebook.magics.notebook, "http://127.0.0.1:1"
    assert ours.place() == "local"
    monkeypatch.setenv("FUNCX_LAB_URL", url)
    monkeypatch.setenv("FUNCX_LAB_TOKEN", "t")
    notebook.client.connection.endpoint = lambda name: name or "cluster"
    assert ours.place() == "cluster"
    ours.settings.endpoint = "said"
    assert ours.place() == "said"
