"""Every error keeps its class, message and details on every way it travels, and has its docs."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from funcx_lab import errors
from funcx_lab.errors import FuncxLabError, ServiceError, error_classes, error_from_document

ROOT = Path(__file__).parents[2]
CLASSES = sorted(set(error_classes()), key=lambda cls: cls.number)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_the_wire(cls: type[FuncxLabError]) -> None:
    error = cls("what happened", details={"size": 3})
    back = error_from_document(error.as_document())
    assert type(back) is cls
    assert (back.message, back.details, str(back)) == ("what happened", {"size": 3}, "what happened")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickle(cls: type[FuncxLabError]) -> None:
    back = pickle.loads(pickle.dumps(cls("what happened", details={"size": 3})))
    assert type(back) is cls
    assert (back.message, back.details) == ("what happened", {"size": 3})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_has_a_default_message_of_its_own(cls: type[FuncxLabError]) -> None:
    assert cls.__doc__
    assert str(cls()) == " ".join(cls.__doc__.split("\n\n")[0].split())


def test_codes_and_numbers_are_unique() -> None:
    for attribute, form in (("code", r"[A-Z][A-Z0-9_]+"), ("number", r"FX\d{3}")):
        values = [getattr(cls, attribute) for cls in CLASSES]
        assert len(set(values)) == len(values)
        assert [value for value in values if not re.fullmatch(form, value)] == []


def test_every_class_is_exported_and_drawn_in_the_tree() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert names <= set(errors.__all__)
    drawn = set(re.findall(r"\w+", errors.__doc__ or ""))
    assert names - drawn == set()


def test_an_unknown_code_is_still_an_error_of_the_service() -> None:
    error = error_from_document({"code": "FROM_THE_FUTURE", "message": "new"})
    assert type(error) is ServiceError
    assert error.message == "new"


def test_every_error_is_listed() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    missing = [cls.code for cls in CLASSES if f"`{cls.code}`" not in page or cls.number not in page]
    assert missing == []


def test_every_page_is_of_an_error() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "errors").iterdir()}
    assert pages - {cls.number for cls in CLASSES} == set()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_has_a_page_that_helps(cls: type[FuncxLabError]) -> None:
    """Which error, a message as it looks, what happened, why, and what to do."""
    page = (ROOT / "docs" / "errors" / f"{cls.number}.md").read_text()
    form = (
        rf"# {cls.number} {cls.__name__}\n\n`{cls.code}`.*\n\n```\n{cls.__name__}: .+\n```\n\n"
        r"## What happened\n\n[\w`].+\n\n## Why\n\n[\w`].+\n\n## What to do\n\n\* .+\n"
    )
    assert re.fullmatch(form, page, re.DOTALL)
