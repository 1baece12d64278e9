"""Peak memory by itself: a training step over batches, and the encoding of many classes."""

from dataclasses import replace
from typing import Any

from .comparison import contenders_of
from .peak_memory import measure_peak_memory
from .progress import Progress
from .settings import BenchmarkSettings
from .tables import Table

COLUMNS = ["step", "contender", "units", "peak_bytes", "peak_to_plain", "note"]
MOST_CLIPS = {"cpu": 4}  # of scale_batch: a step of more takes minutes there


def tabulate_memory(dtype_name: str, settings: BenchmarkSettings, progress: Progress) -> Table:
    """Each row is one process: `train` at every batch, `text` at every number of classes (ours only)."""
    most = MOST_CLIPS.get(settings.device, max(settings.scale_batch))
    questions = [
        ("train", name, f"{batch} clips", replace(settings, batch=batch))
        for batch in settings.scale_batch
        if batch <= most
        for name in contenders_of("train", dtype_name, settings)
    ]
    if "vita" in contenders_of("text", dtype_name, settings):
        questions += [
            ("text", "vita", f"{count} classes", replace(settings, classes=count)) for count in settings.scale_classes
        ]
    rows: list[dict[str, Any]] = []
    for case, name, units, chosen in questions:
        progress.say(f"memory {dtype_name}: {case}, {name}, {units}")
        use = measure_peak_memory(case, name, chosen, dtype_name)
        row: dict[str, Any] = {
            "step": case,
            "contender": name,
            "units": units,
            "peak_bytes": use.peak_bytes,
            "note": use.note or None,
        }
        plain = plain_peak_of(rows, case, units)
        if name != "plain" and use.peak_bytes and plain:
            row["peak_to_plain"] = use.peak_bytes / plain
        rows.append(row)
    title = f"Peak memory: {settings.model}, {settings.frames} frames, {dtype_name}"
    note = (
        f"Training steps with {settings.classes} classes, and text features of many classes without gradient; each in "
        "a process of its own, weights included."
    )
    return Table(f"memory-{settings.model}-t{settings.frames}-{dtype_name}", title, note, COLUMNS, rows)


def plain_peak_of(rows: list[dict[str, Any]], step: str, units: str) -> int | None:
    """What the plain equations took for the same, if they were measured."""
    wanted = ("plain", step, units)
    peaks = (row["peak_bytes"] for row in rows if (row["contender"], row["step"], row["units"]) == wanted)
    return next(peaks, None)
