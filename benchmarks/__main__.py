"""Measures speed and memory of Vita-CLIP beside CLIP, X-CLIP and the paper's equations; prints and keeps tables."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch

from .files import measure_files, video_files
from .measure import Point, measure_points
from .report import Table, describe_run, merge_into, render_page, render_table
from .sizes import SIZES, Settings
from .step_profile import profile_steps

CASES = {  # title, contenders in the order of the table (like with like first), rounds, note
    "forward": (
        "Video tower",
        "clip-compiled vita-compiled clip xclip vita vita-cpu plain",
        5,
        "Clips to video features, no gradient. `CLIPModel` sees the same frames and has no prompts.",
    ),
    "train": (
        "Training step",
        "vita vita-cpu vita-bf16 vita-checkpoint plain",
        3,
        "Forward, backward and AdamW of all prompts and class contexts. bfloat16 is autocast.",
    ),
    "text": (
        "Class names to features",
        "clip xclip vita vita-held plain",
        3,
        "No gradient. `CLIPModel` and `XCLIPModel` encode words in the place of the contexts, in texts as long as the "
        "longest; the equations take 77 positions.",
    ),
}
GROWTH = {  # axis: case, unit and points
    "frames": ("forward", "frames", (4, 8, 16, 32)),
    "batch": ("forward", "clips", (1, 2, 4, 8)),
    "classes": ("text", "classes", (10, 100, 1000)),
    "size": ("forward", "size", ("base-32", "base-16", "large-14")),
}
ALL = (*CASES, "memory", *(f"growth-{axis}" for axis in GROWTH), "files", "profile")


def main() -> None:
    """Measures what the options ask for."""
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    run = describe_run(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), options.device)
    notes = []
    for table in measure(options):
        table["run"] = run
        print(f"\n{render_table(table)}\n", flush=True)
        if options.out:
            merge_into(options.out, [table])
        notes += [row["note"] for row in table["rows"] if row.get("note")]
    if options.render:
        render_page(options.render)
    if any(note.startswith("differs") for note in notes):
        sys.exit("Outputs are not those of the equations: see the notes of the tables.")


def parse() -> argparse.Namespace:
    """The options."""
    default = Settings()
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(ALL)}; `all` for every one")
    parser.add_argument("--size", choices=SIZES, default=default.size, help="random weights (default: %(default)s)")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--contenders", nargs="+", help=f"such as {CASES['forward'][1]} (default: all of the case)")
    for name in ("batch", "frames", "classes", "contexts"):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name), help="(default: %(default)s)")
    parser.add_argument("--points", nargs="+", help="of a growth table (default: those of its axis)")
    parser.add_argument("--videos", nargs="+", type=Path, default=[], help="for `files` (default: generated ones)")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], help="for `files` (default: 0 1 2)")
    parser.add_argument("--rounds", type=int, help="each takes all contenders in turns (default: 5, or 3 if slow)")
    parser.add_argument("--device", default=default.device, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: torch's choice)")
    parser.add_argument("--compile-mode", default=default.compile_mode, help="of torch.compile (default: %(default)s)")
    parser.add_argument("--no-memory", action="store_true", help="do not run each row once more for its peak memory")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that everything runs")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="keep the tables here, beside earlier ones")
    parser.add_argument("--render", type=Path, metavar="PAGE.md", help="render PAGE.md from PAGE/*.json at the end")
    options = parser.parse_args()
    options.cases = ALL if "all" in options.cases else options.cases
    for case in options.cases:
        if case not in ALL:
            parser.error(f"unknown case {case!r}; expected one of {', '.join(ALL)}, all")
    if options.quick:
        options.size, options.frames, options.classes, options.contexts = "tiny", 4, 8, 2
        options.rounds = options.rounds or 2
    return options


def measure(options: argparse.Namespace) -> Iterator[Table]:
    """The tables, one after the other. Growth, memory, files and profile are measured in the last dtype alone."""
    shared = {field.name: getattr(options, field.name) for field in fields(Settings) if hasattr(options, field.name)}
    for case in options.cases:
        measure_case = compare if case in CASES else grow if case.startswith("growth-") else OTHERS[case]
        for dtype in options.dtype if case in CASES else options.dtype[-1:]:
            settings = Settings(**{**shared, "dtype": dtype})
            sizes = f"{settings.size}, {settings.batch} x {settings.frames} frames, {settings.classes} classes"
            table = measure_case(case, settings, options)
            key = (case, settings.size, settings.batch, settings.frames, settings.classes, dtype)
            table |= {"key": "-".join(map(str, key)), "title": f"{table['title']}, {dtype}, {sizes}"}
            yield {"units": None, **table}


def compare(case: str, settings: Settings, options: argparse.Namespace) -> Table:
    """Contenders on the same clips and classes."""
    title, default, rounds, note = CASES[case]
    rounds = options.rounds or rounds
    points = [Point(case, name, settings) for name in _contenders(default, settings, options)]
    rows = measure_points(points, rounds, memory=not options.no_memory, description=f"{case} {settings.dtype}")
    note += f" Medians of {rounds} rounds in turns, in brackets quartiles; the equations have a third of the rounds."
    return {"title": title, "note": note, "rows": rows}


def grow(case: str, settings: Settings, options: argparse.Namespace) -> Table:
    """One clip, or the class names, at all points of an axis."""
    axis, rounds = case.removeprefix("growth-"), options.rounds or 3
    base, units, values = GROWTH[axis]
    chosen = [type(values[0])(value) for value in options.points or values]
    if options.quick:
        chosen = ["tiny"] if axis == "size" else chosen[:2]
    one = replace(settings, batch=1)
    names = _contenders("vita" if axis == "classes" else "clip vita", settings, options)
    points = [Point(base, name, replace(one, **cast(Any, {axis: value})), value) for name in names for value in chosen]
    rows = measure_points(points, rounds, memory=False, description=f"{case} {settings.dtype}")
    note = f"{CASES[base][3]} Medians of {rounds} rounds in turns."
    return {"title": f"Growth with {axis}", "note": note, "rows": rows, "units": units}


def peak_memory(case: str, settings: Settings, options: argparse.Namespace) -> Table:
    """Peak memory alone, of more and more clips and of many class names."""
    points = [
        Point("train", name, replace(settings, batch=batch), f"{batch} clips")
        for name in _contenders("vita vita-bf16 vita-checkpoint", settings, options)
        for batch in (1, 2, 4)
    ]
    points += [Point("text", "vita", replace(settings, classes=count), f"{count} classes") for count in (400, 10_000)]
    note = "Training steps of so many clips, and features of so many class names. Each in a process of its own."
    rows = measure_points(points[-2:] if options.quick else points, 1, time=False, description=case)
    return {"title": "Peak memory", "note": note, "rows": rows}


def from_files(case: str, settings: Settings, options: argparse.Namespace) -> Table:
    """Clips per second of the model alone, of reading alone, and of both."""
    with video_files(options.videos) as videos:
        rows = measure_files(videos, settings, 4 * settings.batch, options.workers, options.rounds or 3)
    note = "Inference. Model alone: batches in memory. Input alone: batches are read and dropped."
    return {"title": "From files", "note": note, "rows": rows}


def profile(case: str, settings: Settings, options: argparse.Namespace) -> Table:
    """The operations of training steps."""
    steps, names = options.rounds or 3, _contenders("vita vita-bf16", settings, options)
    rows = [row for name in names for row in profile_steps(name, settings, steps)]
    note = f"The longest operations of a training step, by their own time. Means of {steps} steps."
    return {"title": "Profile", "note": note, "rows": rows}


OTHERS = {"memory": peak_memory, "files": from_files, "profile": profile}


def _contenders(default: str, settings: Settings, options: argparse.Namespace) -> list[str]:
    """Those asked for, or the default ones; a base in bfloat16 belongs to the tables of bfloat16."""
    is_bfloat16 = settings.dtype == "bfloat16"
    return options.contenders or [
        name for name in default.split() if is_bfloat16 or name not in ("vita-bf16", "vita-checkpoint")
    ]


if __name__ == "__main__":
    main()
