"""The page that says what is promised, and the tables of figures that drills put into it."""

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """The lines between which a drill's table stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def put_table(page: Path, name: str, table: str) -> None:
    """Replaces what stands between the marks of that name; raises `ValueError` if the page has none."""
    begin, end = marks(name)
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page}: has no lines {begin} and {end} for the table to stand between")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def rows(*cells: list[str]) -> str:
    """Markdown of rows, the first of which is the head; all columns but the first are numbers."""
    head, *others = cells
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
