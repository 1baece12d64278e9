"""Tables as Markdown, and their place in a page that people write around them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .tables import Table, write_text

NOTHING = "–"  # noqa: RUF001 - a dash in an empty cell
NAMES = {
    "clip": "`CLIPModel`",
    "xclip": "`XCLIPModel`",
    "plain": "plain equations",
    "vita": "**Vita-CLIP**",
    "vita-bf16": "**Vita-CLIP**, its base in bfloat16",
    "vita, asked again": "**Vita-CLIP**, asked again",
    "vita-checkpoint": "the same with gradient checkpointing",
    "vita-int8": "**Vita-CLIP**, its base in int8 (dynamic)",
}


def render_table(table: Table) -> str:
    """Title, note and rows."""
    columns = [column for column in table.columns if any(row.get(column) is not None for row in table.rows)]
    headers = [COLUMNS[column][0] for column in columns]
    lines = [
        f"| {' | '.join(headers)} |",
        "|" + "|".join(":--" if i == 0 else "--:" for i in range(len(columns))) + "|",
    ]
    for row in table.rows:
        cells = [NOTHING if row.get(column) is None else COLUMNS[column][1](row[column]) for column in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n\n".join((f"### {table.title}", table.note, "\n".join(lines), describe(table.run)))


def render_tables(tables: Sequence[Table]) -> str:
    """All of them, one after the other."""
    return "\n\n".join(render_table(table) for table in tables) + "\n"


def insert_in_page(page: Path, section: str, text: str) -> None:
    """
    Puts `text` between the page's lines `<!-- benchmark: SECTION -->` and `<!-- end -->`.

    Raises:
        OSError: there is no such page.
        ValueError: it has no such lines.
    """
    write_text(page, with_section(page.read_text(encoding="utf-8"), section, text, str(page)))


def with_section(content: str, section: str, text: str, name: str) -> str:
    """`content` with the lines between the two markers replaced; `name` is for the error."""
    start, end = f"<!-- benchmark: {section} -->\n", "<!-- end -->\n"
    before, found_start, rest = content.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"{name} has no lines {start.strip()} and {end.strip()} to put the tables between.")
    return f"{before}{start}\n{text}\n{end}{after}"


def describe(run: Mapping[str, Any]) -> str:
    """The line under a table: where, with what, and how to do it again."""
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    processor = f"{run['gpu']}, CUDA {run['cuda']}; " if "gpu" in run else ""
    place = f"{processor}{run['cpu']}, {run['cores']} cores, {run['threads']} threads"
    return f"<sub>{run['date']}; {place}; Python {run['python']}, {versions}. `{run['command']}`</sub>"


def _seconds(spread: Mapping[str, float]) -> str:
    seconds = spread["median"]
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _ratio(spread: Mapping[str, float]) -> str:
    if spread["median"] >= 1000:
        return f"{spread['median']:,.0f}"
    if spread["median"] < 0.001:
        return "0"
    return f"{spread['median']:.2f} ({spread['q1']:.2f}..{spread['q3']:.2f}; min {spread['minimum']:.2f})"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _spread_of_percent(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.0%}"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _gflop(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


# Key of a row: header, and how its value is shown.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "contender": ("", lambda name: NAMES.get(name, str(name))),
    "units": ("", str),
    "time": ("time", _seconds),
    "time_per_unit": ("time per unit", _seconds),
    "ratio_to_clip": ("time / `CLIPModel`'s", _ratio),
    "speedup_over_plain": ("plain's time / its", _ratio),
    "gflop": ("GFLOP", _gflop),
    "gflop_per_unit": ("GFLOP per unit", _gflop),
    "utilisation": ("of the matrix rate", _spread_of_percent),
    "peak_bytes": ("peak memory", _gigabytes),
    "peak_to_plain": ("memory / plain's", _percent),
    "difference": ("largest difference from plain", lambda value: f"{value:.0e}"),
    "growth_of_time": ("time grows as n to the", lambda value: f"{value:.2f}"),
    "growth_of_gflop": ("GFLOP grow as n to the", lambda value: f"{value:.2f}"),
    "step": ("", str),
    "seconds": ("time", lambda value: f"{value * 1e3:,.1f} ms"),
    "share": ("share", _percent),
    "calls": ("calls", lambda value: f"{value:,}"),
    "workers": ("workers", str),
    "clips_per_second": ("clips/s", _number),
    "frames_per_second": ("frames/s", _number),
    "share_of_model": ("model's own rate", _percent),
    "limit": ("limit", str),
    "note": ("note", str),
}
