"""Write the pages of docs/reference that come from the code, or check that they are up to date.

python scripts/write_reference.py [--check]
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

import funcx_lab.cli
import funcx_lab_endpoint.cli
import funcx_lab_hub_service.cli
from funcx_lab.errors import FuncxLabError, error_classes
from funcx_lab_endpoint.config import Config
from funcx_lab_hub_service.config import ServiceConfig
from funcx_lab_magics import arguments
from funcx_lab_magics.autofuncx import AutoFuncX
from funcx_lab_magics.commands import COMMANDS

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
OPENAPI = Path(funcx_lab_hub_service.__file__).parent / "openapi.yaml"
GENERATED = "<!-- Written by scripts/write_reference.py; edit the code and run `make docs`. -->\n"

ENVIRONMENT = {
    "FUNCX_LAB_HOME": "directory of everything that is kept on this machine; `~/.funcx_lab` by default",
    "FUNCX_LAB_URL": "address of the hub service to use instead of the local one",
    "FUNCX_LAB_TOKEN": "bearer token for it",
    "FUNCX_LAB_CRASH_AT": "for tests: a place in `funcx_lab/crash_points.py` at which the process ends",
    "FUNCX_LAB_JUPYTERHUB_URL": "address of the hub service of a JupyterHub; set by its spawner, and "
    "`JUPYTERHUB_API_TOKEN` is sent to this address only",
}


def main() -> int:
    """Write or check and return the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a page is out of date")
    check = parser.parse_args().check
    REFERENCE.mkdir(parents=True, exist_ok=True)
    stale = 0
    for name, page in PAGES.items():
        text = GENERATED + "\n".join(page()) + "\n"
        path = REFERENCE / name
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{path} is out of date; run `make docs`.", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote {path}")
    return 1 if check and stale else 0


def errors_page() -> Iterator[str]:
    """Yield every error class: number, code, what it means."""
    yield "# Errors\n"
    yield "Every error is a subclass of `funcx_lab.errors.FuncxLabError`. The code is what travels: an error"
    yield "that the hub service answers with becomes the same class in your notebook. The number leads to a"
    yield "page that says what happened, why, and what to do.\n"
    yield "| Number | Code | Class | HTTP | What it means |"
    yield "|---|---|---|---|---|"
    for cls in sorted(set(error_classes()), key=lambda cls: cls.number):
        number = f"[{cls.number}](../errors/{cls.number}.md)"
        yield f"| {number} | `{cls.code}` | {_lineage(cls)} | {cls.status} | {_first_paragraph(cls)} |"


def _lineage(cls: type[FuncxLabError]) -> str:
    parent = "" if cls is FuncxLabError else f" ({cls.__bases__[0].__name__})"
    return f"`{cls.__name__}`{parent}"


def _first_paragraph(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")


def commands_page() -> Iterator[str]:
    """Yield every command and option of the programs."""
    yield "# Commands\n"
    for parser in (
        funcx_lab.cli.build_parser(),
        funcx_lab_endpoint.cli._parser(),
        funcx_lab_hub_service.cli._parser(),
    ):
        yield from _command(parser, "##")


def magics_page() -> Iterator[str]:
    """Yield the grammar of the magics."""
    yield "# Magics\n"
    yield "`%load_ext funcx_lab` loads them. `%%funcx --help` and `%funcx SUBCOMMAND --help` say the same.\n"
    yield from _command(arguments.cell_parser(), "##")
    for command in COMMANDS.values():
        yield from _command(command.parser(), "##")
    text = inspect.cleandoc(AutoFuncX.autofuncx.__doc__ or "").replace("``", "`")
    yield f"## %autofuncx\n\n{text}\n"


def _command(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    yield f"{heading} {parser.prog}\n\n{_sentence(parser.description)}\n"
    yield from _options(parser)
    for child in _children(parser):
        yield from _command(child, "###")


def _children(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        and action.help != argparse.SUPPRESS
    ]
    for action in shown:
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        value = "" if action.nargs == 0 else f" {metavar}"
        name = ", ".join(f"{option}{value}" for option in action.option_strings) or metavar
        choices = f" One of: {', '.join(map(str, action.choices))}." if action.choices else ""
        yield f"* `{name}`: {_sentence(action.help)}{choices}"
    if shown:
        yield ""


def _sentence(text: str | None) -> str:
    text = (text or "").strip().replace("%%", "%")
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def routes_page() -> Iterator[str]:
    """Yield every REST route."""
    document: dict[str, Any] = yaml.safe_load(OPENAPI.read_text())
    yield "# REST routes\n"
    yield "The whole description, with bodies and answers, is"
    yield "[openapi.yaml](../../hub_service/funcx_lab_hub_service/openapi.yaml).\n"
    yield "| Method | Path | What it does |"
    yield "|---|---|---|"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in {"get", "put", "post", "delete", "head", "patch"}:
                yield f"| {method.upper()} | `{path}` | {operation.get('summary', '').replace('|', '/')} |"


def settings_page() -> Iterator[str]:
    """Yield every environment variable and every field of the two config classes."""
    yield "# Settings\n"
    yield "## Environment variables\n"
    for name, text in ENVIRONMENT.items():
        yield f"* `{name}`: {text}."
    yield ""
    yield from _class_settings(
        "Endpoint",
        "the fields of `funcx_lab_endpoint.config.Config`, used in an endpoint's `config.py`",
        Config,
    )
    yield from _class_settings(
        "Hub service",
        "given as options of `python -m funcx_lab_hub_service`; the fields of `ServiceConfig`",
        ServiceConfig,
    )


def _class_settings(title: str, where: str, cls: type[Any]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"These are {where}.\n"
    yield "| Field | Default |"
    yield "|---|---|"
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        yield f"| `{field.name}` | {'must be given' if required else f'`{_default(field)!r}`'} |"
    parameters = (cls.__doc__ or "").partition("----------\n")[2].partition("\n    Raises\n")[0]
    yield ""
    for line in parameters.rstrip().splitlines():
        yield (
            f"* **{line.strip()}**" if line.startswith("    ") and not line.startswith("     ") else line[4:]
        )
    yield ""


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]  # one of the two is there


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "errors.md": errors_page,
    "cli.md": commands_page,
    "magics.md": magics_page,
    "rest.md": routes_page,
    "settings.md": settings_page,
}

if __name__ == "__main__":
    sys.exit(main())
