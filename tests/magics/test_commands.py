"""``%funcx run``, ``register``, ``functions``, ``config --save``, ``login`` and its like, ``dashboard``."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from IPython.core.profiledir import ProfileDir

from funcx_lab import accounts, credentials
from funcx_lab.config import Service
from funcx_lab.errors import NotAuthenticated, NotFound
from funcx_lab.record_lists import FunctionList
from funcx_lab_magics.commands import account

TOKEN = "fxl_secret"


def told(ran: Any) -> str:
    return "\n".join(bundle["text/plain"] for bundle in ran.shown)


# --- run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("sum(data)", 6),
        ("held -b -- sum(data)", None),
        ("-e local -o none -- 'a b' + \" -x c\"", "a b -x c"),
        ("-- -1", -1),
        ("-1", -1),
        ("local --  data[0] -- 1", 2),
    ],
)
def test_one_line_runs_there(notebook: Any, line: str, value: Any) -> None:
    notebook.good("data = [1, 2, 3]")
    ran = notebook.good(f"%funcx run {line}")
    if "-b" in line.split():
        assert ran.result.endpoint == "held"
    else:
        assert ran.result == value


def test_its_value_can_be_assigned_and_its_names_come_back(notebook: Any) -> None:
    notebook.good("x = %funcx run (y := 20) + 1")
    assert (notebook["x"], notebook["y"]) == (21, 20)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "there is no expression"),
        ("local --", "there is no expression"),
        ("-e local sum([1])", "put -- between the options and the expression"),
        ("--nosuch 1 -- 2", "unrecognized arguments: --nosuch"),
        ("1 +", "invalid syntax. Nothing was sent"),
    ],
)
def test_lines_that_cannot_run(notebook: Any, line: str, text: str) -> None:
    ran = notebook.run(f"%funcx run {line}")
    assert isinstance(ran.error, UsageError)
    assert text in ran.stderr


def test_a_cell_may_have_a_time_to_live(notebook: Any) -> None:
    notebook.good("%%funcx --ttl 2h\n1")
    assert notebook.client.submitted[-1]["options"].ttl_s == 7200.0
    assert "is not a duration" in notebook.run("%%funcx --ttl soon\n1").stderr


def test_help_of_run(notebook: Any) -> None:
    assert "one line of Python" in notebook.good("%funcx run --help").stdout


# --- functions ------------------------------------------------------------------------------------


def test_register(notebook: Any) -> None:
    registered: list[Any] = []
    notebook.client.register_function = lambda *args, **kwargs: registered.append((args, kwargs)) or "f-1"
    notebook.good("def fit(x):\n    return x\nn = 1")
    ran = notebook.good("%funcx register fit -d 'fits a model'")
    assert ran.result == "f-1"
    assert registered == [((notebook["fit"], "fit"), {"description": "fits a model"})]
    assert "registered fit" in told(ran)
    assert "'n' is no function" in notebook.run("%funcx register n").stderr
    assert "'m' is not defined here" in notebook.run("%funcx register m").stderr


def test_functions(notebook: Any) -> None:
    asked: list[str | None] = []
    found = FunctionList([{"function_name": "fit", "function_uuid": "f-1", "created": 1.0, "meta": {}}])
    notebook.client.get_functions = lambda pattern: asked.append(pattern) or found
    assert "fit" in repr(notebook.good("%funcx functions 'fi*'").result)
    assert type(notebook.good("%funcx functions --json").result) is list
    assert asked == ["fi*", None]
    found.append({"function_name": "cell", "function_uuid": "f-2", "created": 2.0, "meta": {}})
    ran = notebook.good("%funcx functions")
    assert [each["function_name"] for each in ran.result] == ["fit"]
    assert "1 cells and scripts are left out" in told(ran)
    assert len(notebook.good("%funcx functions '*'").result) == 2


# --- config ---------------------------------------------------------------------------------------


@pytest.fixture
def profile(notebook: Any, tmp_path: Path) -> Path:
    notebook.shell.profile_dir = ProfileDir.create_profile_dir(str(tmp_path))
    return tmp_path / "ipython_config.json"


def test_defaults_are_saved_in_the_profile(notebook: Any, profile: Path) -> None:
    profile.write_text('{"InteractiveShell": {"autocall": 0}}')
    ran = notebook.good("%funcx config --save -e cluster -o a,b --timeout 2m")
    assert f"saved in {profile}" in told(ran)
    assert json.loads(profile.read_text()) == {
        "InteractiveShell": {"autocall": 0},
        "FuncX": {"endpoint": "cluster", "out": ["a", "b"], "timeout": 120.0},
    }
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    notebook.good("%funcx config --reset --save")
    assert json.loads(profile.read_text())["FuncX"] == {}


def test_a_damaged_profile_is_left_alone(notebook: Any, profile: Path) -> None:
    profile.write_text("{")
    ran = notebook.run("%funcx config --save")
    assert "line 1: not JSON" in ran.stdout
    assert profile.read_text() == "{"


def test_without_a_profile_nothing_is_saved(notebook: Any) -> None:
    notebook.shell.profile_dir = None
    assert "has no profile" in notebook.run("%funcx config --save").stderr


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("timeout = 'abc'", "expected a float"),
        ("timeout = -1", "timeout must be seconds above 0, or None, not -1.0."),
        ("endpoint = ' '", "endpoint must name an endpoint."),
        ("url = 'http://example.org'", "would send the token in the clear"),
        ("on_interrupt = 'cry'", "['cancel', 'detach']"),
    ],
)
def test_wrong_values_are_refused_in_one_line(
    notebook: Any, line: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(notebook.magics.notebook.settings.trait_values())
    ran = notebook.run(f"%config FuncX.{line}")
    (record,) = caplog.records  # IPython's %config logs what was refused
    assert text in record.getMessage()
    assert "\n" not in record.getMessage()
    assert "Traceback" not in ran.stdout + ran.stderr
    assert dict(notebook.magics.notebook.settings.trait_values()) == before


def test_a_wrong_value_of_our_own_command_is_one_line(notebook: Any) -> None:
    ran = notebook.run("%funcx config -e ' '")
    assert ran.stderr.strip() == "UsageError: %funcx config: endpoint must name an endpoint."


def test_the_tab_key_knows_the_defaults(notebook: Any) -> None:
    line = "%config FuncX.en"
    with provisionalcompleter():
        found = [each.text for each in notebook.shell.Completer.completions(line, len(line))]
    assert "FuncX.endpoint" in found


# --- login ----------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub service that knows one token, and a home without a login; gives a file with that token."""
    for name in ("FUNCX_LAB_URL", "FUNCX_LAB_TOKEN", "FUNCX_LAB_JUPYTERHUB_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))

    def who_am_i(service: Service) -> dict[str, Any]:
        if service.token != TOKEN:
            raise NotAuthenticated("The token is not known.")
        return {"user": "ada", "kind": "user"}

    for module in (accounts, account):
        monkeypatch.setattr(module, "who_am_i", who_am_i)
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def test_login_keeps_a_token_that_is_known(notebook: Any, elsewhere: Path) -> None:
    ran = notebook.good(f"%funcx login https://hub.example.org/funcx --token-file {elsewhere}")
    assert ran.stdout == "Logged in to hub.example.org as ada.\n"
    assert credentials.find_service() == Service("https://hub.example.org/funcx", TOKEN)
    assert notebook.magics.notebook.open_client is None
    who = notebook.good("%funcx whoami").result
    assert who.rows == [["user", "ada"], ["hub service", "hub.example.org"], ["known by", "the saved login"]]
    assert TOKEN not in repr(who) + who._repr_html_()
    assert "as ada already (the saved login)" in notebook.good("%funcx login").stdout
    assert "Forgotten" in notebook.good("%funcx logout").stdout
    assert credentials.configured_service() is None
    assert "There was no saved hub service." in notebook.good("%funcx logout").stdout


def test_a_token_that_is_not_known_is_not_kept(notebook: Any, elsewhere: Path) -> None:
    elsewhere.write_text("fxl_wrong")
    ran = notebook.run(f"%funcx login https://hub.example.org --token-file {elsewhere}")
    assert "The token is not known." in ran.stdout
    assert credentials.configured_service() is None


def test_the_token_is_asked_for(notebook: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(accounts.getpass, "getpass", lambda text: asked.append(text) or TOKEN)
    notebook.good("%funcx login https://hub.example.org")
    assert asked == ["Token for https://hub.example.org: "]


def test_inside_a_jupyterhub_nobody_logs_in(
    notebook: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCX_LAB_JUPYTERHUB_URL", "https://hub.example.org/services/funcx")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    told = "Logged in to hub.example.org as ada already (JupyterHub).\n"
    assert notebook.good("%funcx login").stdout == told


def test_what_goes_before_a_login_is_said(
    notebook: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCX_LAB_URL", "https://other.example.org")
    ran = notebook.good(f"%funcx login https://hub.example.org --token-file {elsewhere}")
    assert "But FUNCX_LAB_URL is set and goes first." in ran.stdout
    assert "FUNCX_LAB_URL still names one." in notebook.good("%funcx logout").stdout


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "say the address of the hub service"),
        ("ftp://hub", "is not an address"),
        ("http://hub.example.org", "in the clear"),
        ("https://hub.example.org --token-file nowhere", "--token-file:"),
    ],
)
def test_logins_that_cannot_be(notebook: Any, elsewhere: Path, line: str, text: str) -> None:
    assert text in notebook.run(f"%funcx login {line}").stderr


# --- dashboard ------------------------------------------------------------------------------------


@pytest.fixture
def dashboards(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"dashboards": [{"name": "tasks", "title": "Task stream"}, {"name": "queue", "title": "Queue"}]}
    transport = SimpleNamespace(json=lambda method, path: {("GET", "/dash/list"): listed}[method, path])
    monkeypatch.setattr(notebook.client.connection, "transport", transport)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/someone/work.ipynb")


@pytest.mark.usefixtures("dashboards")
def test_a_dashboard_is_facts_for_jupyterlab_and_words_elsewhere(
    notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "%funcx dashboard queue --theme dark --height 300 --endpoint held"
    shown = notebook.good(line).result
    bundle = shown._repr_mimebundle_()
    assert bundle["application/vnd.funcx.dashboard.v1+json"] == {
        "name": "queue",
        "height": 300,
        "theme": "dark",
        "endpoint": "e-2",
    }
    assert "funcx-lab dashboard" in bundle["text/plain"]
    assert "funcx-lab dashboard" in bundle["text/html"]
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert set(shown._repr_mimebundle_()) == {"text/plain", "text/html"}


@pytest.mark.usefixtures("dashboards")
def test_dashboards_are_listed(notebook: Any) -> None:
    assert notebook.good("%funcx dashboard --list").result.rows == [
        ["tasks", "Task stream"],
        ["queue", "Queue"],
    ]
    assert notebook.good("%funcx dashboard").result.facts == {"name": "tasks", "height": 480}


@pytest.mark.usefixtures("dashboards")
@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nowhere", "There are: tasks, queue"),
        ("--height 5", "120 to 4000"),
        ("--endpoint nowhere", "There is no endpoint 'nowhere'"),
        ("--theme pink", "invalid choice"),
    ],
)
def test_dashboards_that_cannot_be(notebook: Any, line: str, text: str) -> None:
    ran = notebook.run(f"%funcx dashboard {line}")
    assert text in ran.stdout + ran.stderr


def test_a_service_without_dashboards_is_told(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_route(method: str, path: str) -> None:
        raise NotFound

    transport = SimpleNamespace(json=no_such_route)
    monkeypatch.setattr(notebook.client.connection, "transport", transport)
    assert "this hub service has no dashboards" in notebook.run("%funcx dashboard").stderr


# --- last -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["result", "logs", "attach"])
def test_last_without_a_task_says_what_to_do(notebook: Any, command: str) -> None:
    ran = notebook.run(f"%funcx {command} last")
    assert "No cell ran at an endpoint since this kernel started" in ran.stderr
    assert "%funcx tasks lists yours; give the id of one" in ran.stderr
