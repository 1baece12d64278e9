"""How cost grows: with frames, classes, batch, views and the size of the model, all points of an axis in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..modeling.text_vita_clip import ClassPrompts
from .arithmetic import count_flops, matrix_product
from .comparison import as_mapping, utilisation
from .contenders import available_contenders, build_contender
from .progress import Progress
from .settings import BenchmarkSettings
from .sizes import made_up_classes
from .tables import Table
from .timing import Work, out_of_memory_message, time_in_turns
from .works import as_inference, compiled, random_clips, without_gradient

COLUMNS = [
    *("contender", "units", "time", "time_per_unit", "gflop", "gflop_per_unit", "utilisation"),
    *("growth_of_time", "growth_of_gflop", "note"),
]
SCALED = ("clip", "vita")
NOTES = {
    "frames": "One clip of T frames, video tower. Beside the frames themselves every frame attends to the T local "
    "prompts of its clip, and the T summary tokens to each other: T^2 terms, small beside the patches.",
    "classes": "Class names to text features, nothing kept. Sequences end with the longest class, which more classes "
    "make longer, and a fixed cost per call is shared by more of them.",
    "batch": "Clips at once, video tower. A fixed cost per call is shared by more clips.",
    "views": "Views of one video, video tower and logits, class features known: each view is a clip.",
    "size": "One clip, video tower. Time per unit is per GFLOP: what larger matrices bring.",
}
UNITS = {"frames": "frames", "classes": "classes", "batch": "clips", "views": "views", "size": ""}


@dataclass
class Point:
    """One row: a work of so many units (for sizes: of so many GFLOP)."""

    contender: str
    label: str
    units: float | None
    work: Work
    flops: int


def scale(axis: str, dtype_name: str, settings: BenchmarkSettings, progress: Progress) -> Table:
    """Measures one of `SCALING_AXES`, with CLIP for comparison where it is among the contenders."""
    dtype = getattr(torch, dtype_name)
    rows: list[dict[str, Any]] = []
    points: list[Point] = []
    for name in [name for name in available_contenders(settings) if name in SCALED]:
        progress.say(f"scaling-{axis} {dtype_name}: preparing {name}")
        _prepare_points(axis, name, settings, dtype, points, rows)
    product, product_flops = matrix_product(settings.device, dtype, settings.model)
    works = [*(point.work for point in points), product]
    with progress.rounds(f"scaling-{axis} {dtype_name}", len(works) * settings.rounds) as advance:
        timings = time_in_turns(works, settings.rounds, settings.warmup, settings.device, advance)
    for point in points:
        time = timings.time(point.work.name)
        units = point.flops / 1e9 if point.units is None else point.units
        rows.append(
            {
                "contender": point.contender,
                "units": point.label,
                "time": as_mapping(time),
                "time_per_unit": as_mapping(time and replace_all(time, 1 / units)),
                "gflop": point.flops / 1e9,
                "gflop_per_unit": point.flops / 1e9 / point.units if point.units else None,
                "utilisation": utilisation(point.flops, point.work.name, timings, product_flops),
                "note": timings.failures.get(point.work.name),
            }
        )
    _add_growth(rows, points)
    compiled_by = f", compiled ({settings.compile_mode})" if settings.compile_mode else ""
    title = f"Growth with {axis}: {settings.model if axis != 'size' else 'all sizes'}, {dtype_name}{compiled_by}"
    key = f"scaling-{axis}-{settings.model}-{dtype_name}" + (f"-{settings.compile_mode}" if compiled_by else "")
    note = f"{NOTES[axis]} Medians of {settings.rounds} rounds in turns."
    return Table(key, title, note, COLUMNS, rows)


def replace_all(spread: Any, factor: float) -> Any:
    """A spread with every value times `factor`."""
    scaled = {name: getattr(spread, name) * factor for name in ("median", "minimum", "q1", "q3")}
    return replace(spread, **scaled)


def growth_exponent(units: Sequence[float], costs: Sequence[float]) -> float | None:
    """The k of cost ~ units^k by least squares on logarithms: 1 is linear growth. `None` of fewer than two points."""
    if len(units) < 2:
        return None
    slope, _ = np.polyfit(np.log(units), np.log(costs), 1)
    return float(slope)


def _add_growth(rows: list[dict[str, Any]], points: Sequence[Point]) -> None:
    """Puts the exponents into the last row of each contender."""
    units_of = {(point.contender, point.label): point.units for point in points}
    for contender in {row["contender"] for row in rows}:
        own = [
            (units_of[contender, row["units"]], row)
            for row in rows
            if row["contender"] == contender and row.get("time") and units_of.get((contender, row["units"]))
        ]
        if own:
            units = [float(count) for count, _ in own if count]
            last = own[-1][1]
            last["growth_of_time"] = growth_exponent(units, [row["time"]["median"] for _, row in own])
            last["growth_of_gflop"] = growth_exponent(units, [row["gflop"] for _, row in own])


def _prepare_points(
    axis: str,
    name: str,
    settings: BenchmarkSettings,
    dtype: torch.dtype,
    points: list[Point],
    rows: list[dict[str, Any]],
) -> None:
    """Builds and counts the points of one contender; one that does not fit into memory becomes a row that says so."""
    makers: dict[str, Callable] = {
        "frames": _frames,
        "classes": _classes,
        "batch": _batch,
        "views": _views,
        "size": _size,
    }
    values: Sequence[Any] = getattr(settings, f"scale_{axis}")
    first = replace(settings, model=values[0]) if axis == "size" else settings
    if axis == "classes" and name != "vita":
        return  # one tower and one length of text: what CLIP takes for each class is in the text table
    contender = as_inference(build_contender(name, first), first, dtype)
    for value in values:
        label = f"{value} {UNITS[axis]}".strip()
        try:
            if axis == "size" and value != values[0]:
                contender = as_inference(build_contender(name, replace(settings, model=value)), settings, dtype)
            call, before = makers[axis](contender, value, settings, dtype)
            if before is not None:
                before()
            flops, _ = count_flops(call)
        except Exception as error:
            rows.append({"contender": name, "units": label, "note": out_of_memory_message(error)})
            continue
        units = None if axis == "size" else float(value)
        points.append(Point(name, label, units, Work(f"{name} {label}", call, before), flops))


def _video(contender: Any, batch: int, frames: int, settings: BenchmarkSettings, dtype: torch.dtype):
    clips = random_clips(batch, settings, contender, frames).to(dtype)
    return without_gradient(compiled(contender.video, settings), clips), None


def _frames(contender: Any, frames: int, settings: BenchmarkSettings, dtype: torch.dtype):
    return _video(contender, 1, frames, settings, dtype)


def _batch(contender: Any, batch: int, settings: BenchmarkSettings, dtype: torch.dtype):
    return _video(contender, batch, settings.frames, settings, dtype)


def _size(contender: Any, size: str, settings: BenchmarkSettings, dtype: torch.dtype):
    return _video(contender, 1, settings.frames, settings, dtype)


def _views(contender: Any, views: int, settings: BenchmarkSettings, dtype: torch.dtype):
    clips = random_clips(views, settings, contender).to(dtype)
    with torch.no_grad():
        text_features = contender.text()
    if hasattr(contender.model, "class_prompts"):
        clips = clips[None]  # (1, V, T, 3, H, W): the model averages the views itself
    return without_gradient(compiled(contender.logits, settings), clips, text_features), None


def _classes(contender: Any, classes: int, settings: BenchmarkSettings, dtype: torch.dtype):
    model = contender.model
    prompts = ClassPrompts(model.config.text_config, made_up_classes(classes, model.config, settings.seed))
    torch.nn.init.normal_(prompts.contexts, std=0.02)
    prompts.eval().requires_grad_(False).to(device=settings.device, dtype=dtype)

    def take_classes() -> None:
        model.class_prompts = prompts
        contender.forget()

    return without_gradient(compiled(contender.text, settings)), take_classes
