"""Nobody sits at a worker: what asks for input is refused at once, in words."""

import getpass

import pytest


def ask():
    return input("Your name? ")


def ask_for_a_secret():
    return getpass.getpass()


def stop_here():
    breakpoint()


def take_the_default():
    try:
        return input()
    except EOFError:
        return "nobody"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (ask, "input('Your name?') has nobody to answer"),
        (ask_for_a_secret, "getpass() has nobody to answer"),
        (stop_here, "breakpoint() has nobody"),
    ],
)
def test_input_is_refused_with_the_line_that_asked(shared, function, words):
    error = shared.error(function)
    assert error.code == "INPUT_REFUSED"
    assert words in error.message
    assert f"in {function.__name__}" in error.traceback
    assert "funcx_lab_endpoint" not in error.traceback


def test_code_that_expects_the_end_of_input_goes_on(shared):
    assert shared.value(take_the_default) == "nobody"
