"""The benchmark: every case that was asked for, table by table."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from .comparison import compare, differing_tables
from .machine import describe_run
from .markdown import insert_in_page, render_table, render_tables
from .memory_table import tabulate_memory
from .oracle import load_oracle
from .peak_memory import bounded_memory
from .profile_table import tabulate_profile
from .progress import Progress
from .scaling import scale
from .settings import MODEL_CASES, BenchmarkSettings
from .tables import Table, merge_tables, read_tables, write_tables, write_text
from .video_files import measure_decoding, measure_from_files


def run_benchmark(
    settings: BenchmarkSettings,
    out: Path | None = None,
    page: Path | None = None,
    command: str | None = None,
    quiet: bool = False,
) -> list[Table]:
    """
    Measures, and prints each table as it is done.

    Args:
        settings: what to measure.
        out: a folder for `DEVICE.json` and `DEVICE.md`, with `DEVICE` `cpu` or `cuda`. Tables that are there and not
            measured again are kept; the files are written after each table.
        page: a Markdown page whose section `<!-- benchmark: DEVICE -->` gets all tables.
        command: for the tables' last lines; by default this program's.
        quiet: no progress.

    Returns:
        The tables of this run.

    Raises:
        OSError, ValueError, ImportError: a model, device, contender or video that cannot be had; in float32 outputs
            that are not those of the plain equations (after everything is written).
    """
    check_device(settings.device)
    if settings.contenders is not None and "plain" in settings.contenders:
        load_oracle()  # asked for by name: say at once where it is not
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    run = describe_run(command or shlex.join(["vita-clip", *sys.argv[1:]]), settings.device)
    tables: list[Table] = []
    with bounded_memory(settings.device):
        for table in measure(settings, Progress(quiet)):
            table.run = run
            tables.append(table)
            print(f"\n{render_table(table)}\n", flush=True)
            publish(tables, torch.device(settings.device).type, out, page)
    if differing := differing_tables(tables):
        raise ValueError(f"Outputs are not those of the plain equations: {'; '.join(differing)}")
    return tables


def measure(settings: BenchmarkSettings, progress: Progress) -> Iterator[Table]:
    """The tables, one after the other."""
    for case in settings.expanded_cases:
        if case == "decode":
            yield measure_decoding(settings, progress)
            continue
        for dtype in settings.dtypes:
            if case in MODEL_CASES:
                yield compare(case, dtype, settings, progress)
            elif case == "files":
                yield measure_from_files(dtype, settings, progress)
            elif case == "memory":
                yield tabulate_memory(dtype, settings, progress)
            elif case == "profile":
                yield tabulate_profile(dtype, settings, progress)
            else:
                yield scale(case.removeprefix("scaling-"), dtype, settings, progress)


def publish(tables: list[Table], device: str, out: Path | None, page: Path | None) -> None:
    """Writes results beside earlier ones: JSON and Markdown in a folder, and the section of a page."""
    if out is None and page is not None:
        out = page.with_suffix("")
    if out is None:
        return
    everything = merge_tables(read_tables(out / f"{device}.json"), tables)
    write_tables(everything, out / f"{device}.json")
    if page is None:
        write_text(out / f"{device}.md", render_tables(everything))
    else:
        insert_in_page(page, device, render_tables(everything))


def render_page(page: Path, devices: tuple[str, ...] = ("cpu", "cuda")) -> None:
    """Renders the sections of a page again from the results beside it, without measuring."""
    for device in devices:
        results = page.with_suffix("") / f"{device}.json"
        if results.exists():
            insert_in_page(page, device, render_tables(read_tables(results)))


def check_device(device: str) -> None:
    """Raises `ValueError` for a device that torch does not know or does not find here."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"Unknown device {device!r}; expected cpu, cuda or cuda:N.") from error
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"The benchmark measures on cpu and cuda; found {device!r}.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{device!r} was asked for and torch finds no GPU here.")
