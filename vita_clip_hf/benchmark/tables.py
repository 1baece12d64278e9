"""Tables of results: raw numbers in JSON, one file for all of a device, each table with the run that made it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass
class Table:
    """
    Args:
        key: names the table among others; a later run of the same key replaces it.
        title: for people.
        note: what was measured, and what is to be known for reading it.
        columns: keys of `rows` in order; `markdown.COLUMNS` says how they are shown.
        rows: one mapping each; a `Spread` is a mapping of its fields.
        run: machine, versions, command and day, by `machine.describe_run`.
    """

    key: str
    title: str
    note: str
    columns: list[str]
    rows: list[dict[str, Any]]
    run: dict[str, Any] = field(default_factory=dict)


def merge_tables(earlier: Iterable[Table], later: Iterable[Table]) -> list[Table]:
    """All tables, those of `later` in the place of earlier ones of the same key."""
    merged = {table.key: table for table in earlier}
    merged.update({table.key: table for table in later})
    return list(merged.values())


def write_tables(tables: Sequence[Table], path: Path) -> None:
    """Writes them as JSON, whole or not at all."""
    content = {"format": FORMAT, "tables": [asdict(table) for table in tables]}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_tables(path: Path) -> list[Table]:
    """
    Reads what `write_tables` wrote; a file that is not there has no tables.

    Raises:
        ValueError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"{path} has the format {content['format']!r}; expected {FORMAT}.")
        return [Table(**table) for table in content["tables"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of benchmark results: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.unfinished")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
