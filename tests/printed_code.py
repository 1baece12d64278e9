"""What the documentation prints as code: blocks of Python, commands in blocks, and commands and calls in the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (
    *(
        "README.md",
        "CONTRIBUTING.md",
        "docs/index.md",
        "docs/first_adapter.md",
        "docs/concepts.md",
        "docs/when_not.md",
        "docs/app.md",
        "docs/data.md",
        "docs/evaluation.md",
        "docs/explain.md",
        "docs/models.md",
        "docs/training.md",
        "docs/performance.md",
        "docs/publish.md",
        "docs/reproduce.md",
        "docs/python.md",
        "docs/checkpoint_format.md",
        "docs/troubleshooting.md",
        "docs/platforms.md",
    ),
    *("docs/architecture.md", "docs/motion_shapes/README.md", "vita_clip_hf/demo/tiny_clip/README.md"),
)
PROGRAMS = ("vita-clip", "python", ".venv/bin/python", "accelerate", "make", "pip", "sbatch", "git")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Printed:
    """
    A piece of code as it is printed.

    Args:
        page: path from the repository's root.
        line: where it starts.
        kind: "python", "call" (an expression in the text) or "command".
        text: the code; a command has no comment and is one line.
    """

    page: str
    line: int
    kind: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def printed_on(page: str) -> list[Printed]:
    """All code of a page, in its order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    if page.endswith(".py"):
        return list(_indented_commands(page, text))
    found = list(_blocks(page, text))
    # Blocks are blanked out, and the number of lines stays.
    prose = _BLOCK.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in _INLINE.finditer(prose):
        line = prose.count("\n", 0, match.start()) + 1
        words = match[1].split()
        if len(words) > 1 and words[0] in PROGRAMS:
            found.append(Printed(page, line, "command", match[1]))
        elif match[1].startswith("load_videos("):
            found.append(Printed(page, line, "call", match[1]))
    return sorted(found, key=lambda printed: printed.line)


def _blocks(page: str, text: str) -> Iterator[Printed]:
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        if match[1] == "python":
            yield Printed(page, line, "python", match[2])
        elif match[1] in ("", "bash", "sh", "shell", "console"):
            for number, command in _commands(match[2]):
                yield Printed(page, line + number, "command", command)


def _commands(block: str) -> Iterator[tuple[int, str]]:
    """Number of the line and text of each command of a block; what is no command (a diagram) has no program first."""
    lines = block.split("\n")
    number = 0
    while number < len(lines):
        start, command = number, lines[number]
        while command.endswith("\\"):
            number += 1
            command = command[:-1] + lines[number].strip()
        number += 1
        words = command.removeprefix("$ ").split()
        if words and words[0] in PROGRAMS:
            yield start, shlex.join(shlex.split(command.removeprefix("$ "), comments=True))


def _indented_commands(page: str, text: str) -> Iterator[Printed]:
    """Commands in the docstring of an example."""
    for number, line in enumerate(text.split('"""')[1].splitlines(), start=1):
        if line.startswith("    ") and line.split()[0] in PROGRAMS:
            yield Printed(page, number, "command", line.strip())
