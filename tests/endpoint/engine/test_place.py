"""Where the user's code stands and whose files it writes."""

import os
import stat
from pathlib import Path

import pytest

from funcx_lab.errors import ConfigError
from funcx_lab.launch import keep_private, users_umask
from funcx_lab_endpoint.worker.place import entered


@pytest.fixture
def private_process(monkeypatch):
    """A process of ours, started by somebody whose umask is 027."""
    monkeypatch.delenv("FUNCX_LAB_UMASK", raising=False)
    before = os.umask(0o027)
    monkeypatch.setenv("FUNCX_LAB_UMASK", "")  # so that it is put back at the end
    monkeypatch.delenv("FUNCX_LAB_UMASK")
    keep_private()
    yield
    os.umask(before)


def write(path):
    Path(path).write_text("mine")
    return stat.S_IMODE(os.stat(path).st_mode)


def open_the_umask(path):
    os.umask(0)
    return write(path)


def test_functions_run_in_the_home_directory(make_driver, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_driver().value(os.getcwd) == str(tmp_path)


def test_functions_run_where_the_config_says(make_driver, tmp_path):
    driver = make_driver(f'Config(engine="processes", working_directory="{tmp_path}")')
    assert driver.value(os.getcwd) == str(tmp_path)


def test_files_of_functions_get_the_umask_of_whoever_started_it(make_driver, tmp_path, private_process):
    driver = make_driver()
    assert driver.value(write, str(tmp_path / "first")) == 0o640
    assert driver.value(open_the_umask, str(tmp_path / "second")) == 0o666
    assert driver.value(write, str(tmp_path / "third")) == 0o640


def test_the_first_program_s_umask_counts(private_process):
    keep_private()  # an agent, started by a service that has become private before
    assert users_umask() == 0o027


@pytest.mark.parametrize("told", ["", "nine", None])
def test_an_unknown_umask_is_the_usual_one(monkeypatch, told):
    monkeypatch.setenv("FUNCX_LAB_UMASK", told or "")
    if told is None:
        monkeypatch.delenv("FUNCX_LAB_UMASK")
    assert users_umask() == 0o022


def test_a_directory_that_cannot_be_entered_is_named(tmp_path):
    here, missing = os.getcwd(), str(tmp_path / "missing")
    with pytest.raises(ConfigError, match="missing cannot be entered"), entered(missing, 0o022):
        pass
    assert os.getcwd() == here


def test_a_missing_home_directory_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    here = os.getcwd()
    with entered("", 0o022):
        assert os.getcwd() == here
