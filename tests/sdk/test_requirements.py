"""What is a requirement, before it travels."""

from __future__ import annotations

import time

import pytest

from funcx_lab.errors import UsageError
from funcx_lab.options import make_options
from funcx_lab.requirements import COUNT_LIMIT, LENGTH_LIMIT, read_requirements

GOOD = [
    "numpy",
    "numpy>=2",
    "numpy >=2, <3",
    "scikit-learn==1.5.*",
    "a[b, c]~=1.0",
    "a===1.0+local",
    "zope.interface!=5",
    'pywin32>=1; sys_platform == "win32"',
]


@pytest.mark.parametrize("text", GOOD)
def test_what_pip_takes_is_taken(text: str) -> None:
    assert read_requirements([f" {text} "]) == [text]
    assert read_requirements(text) == [text]


def test_text_is_split_between_requirements_and_not_inside_them() -> None:
    text = "numpy>=2,<3, scipy,a[b,c]>=1,!=2 ,d"
    assert read_requirements(text) == ["numpy>=2,<3", "scipy", "a[b,c]>=1,!=2", "d"]
    assert read_requirements("") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-r file",
        "--index-url=http://evil",
        "numpy>",
        "numpy 2",
        "numpy>=2 <3",
        "a @ http://evil/a.whl",
        "../a",
        "a\nb",
        "a; x\n-r b",
        "a\0",
        "a" * (LENGTH_LIMIT + 1),
        "a" + " " * 150 + "!",
        "a" + ">=1," * 40,
    ],
)
def test_what_is_none_is_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(UsageError, match="no requirement"):
        read_requirements([text])
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("value", [1, None, [1], {"numpy": 2}, ["a"] * (COUNT_LIMIT + 1)])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(UsageError, match="requires"):
        make_options(requires=value)


def test_they_are_options_of_a_call() -> None:
    options = make_options(requires=["numpy>=2"])
    assert options is not None
    assert options.requires == ["numpy>=2"]
    assert make_options(requires=[]) is None
