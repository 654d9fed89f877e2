from __future__ import annotations

from chaos.report import replaced

PAGE = "# Page\n\nWords.\n\n## One\n\nold\n\n### deeper\n\n## Two\n\nkept\n"


def test_a_section_is_replaced_and_the_others_stay() -> None:
    page = replaced(PAGE, "One", "new \\1 text\n")
    assert page == "# Page\n\nWords.\n\n## One\n\nnew \\1 text\n\n## Two\n\nkept\n"
    assert replaced(page, "One", "new \\1 text") == page


def test_the_last_section_is_replaced() -> None:
    assert replaced(PAGE, "Two", "new").endswith("### deeper\n\n## Two\n\nnew\n")


def test_a_new_section_comes_last() -> None:
    assert replaced(PAGE, "Three", "new") == PAGE + "\n## Three\n\nnew\n"
    assert replaced("", "Three", "new") == "## Three\n\nnew\n"
