import json
import stat

import pytest

from funcx_lab import embedded
from funcx_lab.config import Service, check_name, endpoint_directory, home, read_json, write_private
from funcx_lab.credentials import find_service, forget_profile, profile_path, save_profile
from funcx_lab.errors import ConfigError, InvalidName, UsageError

URL = "https://hub.example/services/funcx"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    for name in ("FUNCX_LAB_URL", "FUNCX_LAB_TOKEN", "FUNCX_LAB_JUPYTERHUB_URL", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(embedded, "ensure_service", lambda: Service("http://127.0.0.1:1", "own", True))


def test_the_first_that_is_set_wins(monkeypatch) -> None:
    assert find_service().embedded
    save_profile("https://profile.example", "p")
    assert find_service() == Service("https://profile.example", "p")
    monkeypatch.setenv("FUNCX_LAB_JUPYTERHUB_URL", URL)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "j")
    assert find_service() == Service(URL, "j")
    monkeypatch.setenv("FUNCX_LAB_URL", "https://env.example/")
    monkeypatch.setenv("FUNCX_LAB_TOKEN", "e")
    assert find_service() == Service("https://env.example", "e")
    assert find_service("https://argument.example", "a") == Service("https://argument.example", "a")


def test_jupyterhub_alone_is_not_ours(monkeypatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "j")
    assert find_service().embedded


def test_jupyterhubs_token_is_sent_to_its_address_only(monkeypatch) -> None:
    monkeypatch.setenv("FUNCX_LAB_JUPYTERHUB_URL", URL + "/")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "j")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    # as an endpoint that was enrolled there finds the service again
    assert find_service(URL) == Service(URL, "j")
    assert find_service().user == find_service(URL).user == "ada"
    for other in ("https://hub.example/services/other", "https://hub.example.org/services/funcx"):
        with pytest.raises(ConfigError, match="no token"):
            find_service(other)
    assert find_service(URL, "a token of my own").user == ""


def test_a_token_is_sent_only_where_it_belongs(monkeypatch) -> None:
    monkeypatch.setenv("FUNCX_LAB_URL", "https://env.example")
    monkeypatch.setenv("FUNCX_LAB_TOKEN", "e")
    save_profile("https://profile.example", "p")
    assert find_service("https://env.example/").token == "e"
    assert find_service("https://profile.example").token == "p"
    with pytest.raises(ConfigError, match=r"no token.*funcx-lab login"):
        find_service("https://third.example")


@pytest.mark.parametrize("url", ["hub.example", "ftp://hub.example", "http://hub.example", "https://"])
def test_addresses_that_cannot_be_used(url) -> None:
    with pytest.raises(UsageError):
        find_service(url, "t")


def test_a_token_without_an_address() -> None:
    with pytest.raises(UsageError, match="URL"):
        find_service(token="t")


def test_the_profile_is_private_and_can_be_forgotten() -> None:
    save_profile(URL, "p")
    assert stat.S_IMODE(profile_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    assert forget_profile()
    assert not forget_profile()


@pytest.mark.parametrize("text", ["{", "[]", '{"url": 1, "token": "t"}', "\xff"])
def test_a_damaged_profile_is_named(text) -> None:
    profile_path().write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"profile\.json"):
        find_service()


@pytest.mark.parametrize("name", ["local", "a", "0", "cluster-gpu_2", "a" * 63])
def test_good_names(name) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", "_a", "A", "a" * 64, "a\n", "a.b", "ä", None, 3])
def test_bad_names(name) -> None:
    with pytest.raises(InvalidName):
        endpoint_directory(name)


def test_files_are_replaced_whole(tmp_path) -> None:
    path = tmp_path / "file.json"
    assert read_json(path) is None
    write_private(path, json.dumps({"a": 1}))
    write_private(path, json.dumps({"a": 2}))
    assert read_json(path) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["file.json"]
    with pytest.raises(ConfigError):
        write_private(tmp_path / "absent" / "file", "x")


def test_a_home_that_cannot_be_made(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match="FUNCX_LAB_HOME"):
        home()
