"""``docs/lab.md`` names every command, shortcut and setting of the front end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FRONT_END = ROOT / "labextension"
PAGE = (ROOT / "docs" / "lab.md").read_text()
SCHEMAS: list[dict[str, Any]] = [
    json.loads(path.read_text()) for path in sorted((FRONT_END / "schema").glob("*.json"))
]
SOURCES = [path.read_text() for path in (FRONT_END / "src").rglob("*.ts*") if path.name != "icons.ts"]
ICONS = set(re.findall(r"'(funcx:[a-z-]+)'", (FRONT_END / "src" / "icons.ts").read_text()))


def test_every_command_is_documented() -> None:
    named = {command for text in SOURCES for command in re.findall(r"'(funcx:[a-z-]+)'", text)}
    # What a pane tells the dashboard in it is no command.
    commands = named - ICONS - {"funcx:pause", "funcx:resume"}
    assert len(commands) > 10
    assert [command for command in sorted(commands) if f"`{command}`" not in PAGE] == []


def test_every_command_on_the_page_is_there() -> None:
    text = "\n".join(SOURCES)
    assert [each for each in re.findall(r"`(funcx:[a-z-]+)`", PAGE) if f"'{each}'" not in text] == []


def test_every_shortcut_is_documented() -> None:
    shortcuts = [each for schema in SCHEMAS for each in schema.get("jupyter.lab.shortcuts", [])]
    assert shortcuts
    assert [each["keys"] for each in shortcuts if f"`{' '.join(each['keys'])}`" not in PAGE] == []


def test_every_setting_is_documented() -> None:
    settings = [name for schema in SCHEMAS for name in schema["properties"]]
    assert settings
    assert [name for name in settings if f"`{name}`" not in PAGE] == []


def test_the_usual_values_on_the_page_are_the_schema_s() -> None:
    [service] = [schema for schema in SCHEMAS if "notifyAfterSeconds" in schema["properties"]]
    told = dict(re.findall(r"^\| `(\w+)` \| (\S*) ?\|", PAGE, re.MULTILINE))
    said = {
        name: "" if each["default"] == "" else json.dumps(each["default"]).strip('"')
        for name, each in service["properties"].items()
    }
    assert {name: told.get(name) for name in said} == said


def test_schemas_take_nothing_that_they_do_not_know() -> None:
    assert all(schema["additionalProperties"] is False for schema in SCHEMAS)
