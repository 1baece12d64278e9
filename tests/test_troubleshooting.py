"""Messages that the troubleshooting page explains are those of the code."""

import ast
import re
from collections.abc import Iterator

import pytest
from printed_code import REPOSITORY

PAGE = "docs/troubleshooting.md"
SOURCES = ("modeling", "vita_clip_hf", "hub_cards")
TEXT = (REPOSITORY / PAGE).read_text(encoding="utf-8")
QUOTED = [message.strip() for _, message in re.findall(r"^\*\*(`+)(.*)\1\*\*$", TEXT, re.MULTILINE)]


def texts_of(source: str) -> Iterator[str]:
    """Every text of a program as the page writes it: `…` stands for what is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def texts() -> list[str]:
    files = [path for folder in SOURCES for path in (REPOSITORY / folder).rglob("*.py")]
    return [text for path in files for text in texts_of(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_one_of_the_code(texts, message):
    assert any(message in text for text in texts)


def test_messages_are_quoted_in_this_form_alone():
    assert len(QUOTED) == len(set(QUOTED)) == TEXT.count("\n**`") > 30


def test_a_message_that_the_code_lacks_is_noticed(texts):
    assert not any("has no shape that this package could know" in text for text in texts)
