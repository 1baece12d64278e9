"""Results in JSON, one file for each processor, and as Markdown tables in a page."""

import json
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .contenders import COMPILED
from .measure import MATRIX_PRODUCT

CASES = ("forward", "train", "text", "memory", "growth", "files", "profile")  # in the order of the page
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # those that decide the speed of matrix products
NOTHING = "–"  # noqa: RUF001 - a dash in an empty cell
START, END = "<!-- tables -->\n", "<!-- end -->\n"
COLUMNS = (
    *("", " ", "time", "time / `CLIPModel`'s", "equations' time / its", "time per unit", "GFLOP"),
    *("of the matrix rate", "peak memory", "memory / equations'", "largest difference"),
    *("clips/s", "share", "calls", "note"),
)

# A table is {"key", "title", "note", "units", "rows", "run"}. Its rows are those of `measure_points`; for files they
# also have `clips`, for profiles `share` and `calls`. Tables of one key are one measurement on different machines.
Table = dict[str, Any]


def describe_run(command: str, device: str) -> dict[str, Any]:
    """Processor, versions, command and day."""
    run: dict[str, Any] = {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cores": os.cpu_count(),
    }
    run["threads"] = torch.get_num_threads()
    run["versions"] = {name: version(name) for name in ("torch", "transformers", "vita-clip-hf")}
    if torch.device(device).type == "cuda":
        return run | {"processor": torch.cuda.get_device_name(device), "instructions": [f"CUDA {torch.version.cuda}"]}
    run["processor"] = _cpu_field("model name") or platform.processor() or platform.machine()
    flags = _cpu_field("flags").split()
    return run | {"instructions": [name for name in INSTRUCTIONS if name in flags]}


def _cpu_field(field: str) -> str:
    """A field of Linux's /proc/cpuinfo; empty on other systems."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")


def read_tables(path: Path) -> list[Table]:
    """
    Tables of a file; none if it is missing.

    Raises:
        ValueError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["tables"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of benchmark results: {error!r}") from error


def merge_into(path: Path, tables: Sequence[Table]) -> None:
    """Writes tables into a file; those of the same keys that it has are replaced, others stay."""
    merged = {table["key"]: table for table in [*read_tables(path), *tables]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"tables": list(merged.values())}, indent=1) + "\n", encoding="utf-8")


def render_page(page: Path) -> None:
    """Renders the tables of all JSON files in the folder named after a page into it; see `with_tables`."""
    files = sorted(page.with_suffix("").glob("*.json"))
    page.write_text(with_tables(page.read_text(encoding="utf-8"), map(read_tables, files)), encoding="utf-8")


def with_tables(content: str, machines: Iterable[Sequence[Table]]) -> str:
    """
    The page's text with the tables of several machines between its two marks; those of one key follow each other.

    Raises:
        ValueError: the page has no marks.
    """
    before, found_start, rest = content.partition(START)
    _, found_end, after = rest.partition(END)
    if not (found_start and found_end):
        raise ValueError(f"The page has no lines {START.strip()} and {END.strip()} for the tables.")
    tables = [table for machine in machines for table in machine]
    tables.sort(key=lambda table: (CASES.index(table["key"].partition("-")[0]), table["key"]))
    return f"{before}{START}\n" + "".join(f"{render_table(table)}\n\n" for table in tables) + f"{END}{after}"


def render_table(table: Table) -> str:
    """Title with the processor, note, rows, growth, and the run that measured it."""
    rows = [row for row in table["rows"] if row["contender"] != MATRIX_PRODUCT]
    cells = [_cells(row, table["rows"]) for row in rows]
    columns = [column for column in COLUMNS if any(column in row for row in cells)]
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(':--' if not name.strip() else '--:' for name in columns)}|"]
    lines += [f"| {' | '.join(row.get(column, NOTHING) for column in columns)} |" for row in cells]
    run = table["run"]
    title = f"### {table['title']}: {run['processor']}{' with AMX' if 'amx_bf16' in run['instructions'] else ''}"
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    machine = f"{run['processor']} ({', '.join(run['instructions'])}), {run['cores']} cores, {run['threads']} threads"
    footer = f"<sub>{run['date']}; {machine}; {versions}. `{run['command']}`</sub>"
    growth = _growth(rows, table["units"]) if table["units"] else ""
    return "\n\n".join(part for part in (title, table["note"], "\n".join(lines), growth, footer) if part)


def _cells(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The known values of a row, by columns."""
    cells, seconds = {"": row["label"]}, row.get("seconds")
    beside = {other["contender"]: other for other in rows if other.get("units") == row.get("units")}
    is_compiled = row["contender"].endswith(COMPILED)
    clip, plain = beside.get("clip" + COMPILED * is_compiled, {}), beside.get("plain", {})
    matrix = next((other for other in rows if other["contender"] == MATRIX_PRODUCT), {})
    if "units" in row:
        cells[" "] = str(row["units"])
    if seconds:
        cells["time"] = _time(statistics.median(seconds))
        if clip.get("seconds") and clip is not row:
            cells["time / `CLIPModel`'s"] = _ratio(seconds, clip["seconds"])
        if plain.get("seconds") and plain is not row and not is_compiled:
            cells["equations' time / its"] = _ratio(plain["seconds"], seconds)
        if isinstance(row.get("units"), int):
            cells["time per unit"] = _time(statistics.median(seconds) / row["units"])
        if row.get("gflop") and matrix.get("seconds"):
            rate = statistics.median(_ratios(matrix["seconds"], seconds)) * row["gflop"] / matrix["gflop"]
            cells["of the matrix rate"] = f"{rate:.0%}"
        if "clips" in row:
            cells["clips/s"] = f"{row['clips'] / statistics.median(seconds):,.1f}"
    if "gflop" in row:
        cells["GFLOP"] = f"{row['gflop']:,.0f}" if row["gflop"] >= 10 else f"{row['gflop']:.2f}"
    if row.get("peak_bytes"):
        cells["peak memory"] = f"{row['peak_bytes'] / 1e9:.2f} GB"
        if plain.get("peak_bytes") and plain is not row:
            cells["memory / equations'"] = f"{row['peak_bytes'] / plain['peak_bytes']:.0%}"
    if "difference" in row:
        cells["largest difference"] = f"{row['difference']:.0e}"
    if "share" in row:
        cells |= {"share": f"{row['share']:.0%}", "calls": f"{row['calls']:,}"}
    return cells | ({"note": row["note"]} if row.get("note") else {})


def _ratios(seconds: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round; the equations have the first rounds only."""
    return [own / other for own, other in zip(seconds, others, strict=False)]


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> str:
    """The median, and the quartiles if there are enough rounds for them."""
    ratios = _ratios(seconds, others)
    if len(ratios) < 3:
        return f"{statistics.median(ratios):.2f}"
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def growth_exponent(units: Sequence[float], costs: Sequence[float]) -> float:
    """The k of cost ~ units^k by least squares on logarithms; 1 is linear growth."""
    return statistics.linear_regression([math.log(n) for n in units], [math.log(cost) for cost in costs]).slope


def _growth(rows: Sequence[Mapping[str, Any]], units: str) -> str:
    """A sentence with the exponents of each contender; empty if the points are no numbers, or fewer than two."""
    sentences = []
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label and isinstance(row["units"], int)]
        if len(own) > 1:
            counts = [row["units"] for row in own]
            time = growth_exponent(counts, [statistics.median(row["seconds"]) for row in own])
            gflop = growth_exponent(counts, [row["gflop"] for row in own])
            sentences.append(f"{label}: time grows as n^{time:.2f}, operations as n^{gflop:.2f}")
    return f"With the number n of {units}: {'; '.join(sentences)}." if sentences else ""
