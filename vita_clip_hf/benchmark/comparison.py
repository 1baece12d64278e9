"""The tables that compare contenders on one case: time, ratios, operations, utilisation, memory, equality."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from .arithmetic import MATRIX_PRODUCT, count_flops, matrix_product
from .contenders import available_contenders
from .peak_memory import measure_peak_memory
from .progress import Progress
from .settings import LEARNERS, ONLY_TRAINING, QUANTIZED, QUANTIZED_CASES, BenchmarkSettings
from .tables import Table
from .timing import Spread, Timings, Work, out_of_memory_message, time_in_turns
from .works import prepare_work

AGAIN = "vita, asked again"
TOLERANCE = 1e-5  # of unit-length features in float32
COLUMNS = [
    *("contender", "time", "ratio_to_clip", "speedup_over_plain", "gflop", "utilisation", "peak_bytes"),
    *("peak_to_plain", "difference", "note"),
]
TITLES = {"forward": "Video tower", "train": "Training step", "text": "Text tower", "latency": "One clip"}


@dataclass
class Measured:
    """What is known of the contenders of one table, by their names."""

    works: list[Work] = field(default_factory=list)
    flops: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    peak_bytes: dict[str, int | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def compare(case: str, dtype_name: str, settings: BenchmarkSettings, progress: Progress) -> Table:
    """
    Measures one of `MODEL_CASES` with every contender that has it.

    Raises:
        OSError, ValueError: a contender that was asked for cannot be built.
    """
    dtype = getattr(torch, dtype_name)
    names = contenders_of(case, dtype_name, settings)
    measured = Measured()
    for name in names:
        progress.say(f"{case} {dtype_name}: preparing {name}")
        _prepare(case, name, settings, dtype_name, measured)
    if case == "text" and "vita" in measured.outputs:
        asked = next(work for work in measured.works if work.name == "vita")
        measured.works.append(Work(AGAIN, asked.call))
    product, product_flops = matrix_product(settings.device, dtype, settings.model)
    works = [*measured.works, product]
    with progress.rounds(f"{case} {dtype_name}", len(works) * settings.rounds) as advance:
        timings = time_in_turns(works, settings.rounds, settings.warmup, settings.device, advance)
    measured.notes.update(timings.failures)
    rows = [_row(case, name, dtype, measured, timings, product_flops) for name in _row_names(names, measured)]
    return Table(
        _key(case, dtype_name, settings), _title(case, dtype_name, settings), _note(case, settings), COLUMNS, rows
    )


def contenders_of(case: str, dtype: str, settings: BenchmarkSettings) -> list[str]:
    """
    Those that have the case: CLIP and X-CLIP learn no prompts, a base in bfloat16 is one in bfloat16, and one in int8
    is for inference on clips.
    """
    names = [name for name in available_contenders(settings) if name not in QUANTIZED or case in QUANTIZED_CASES]
    if case != "train":
        return [name for name in names if name not in ONLY_TRAINING]
    return [name for name in names if name in LEARNERS and (dtype == "bfloat16" or name not in ONLY_TRAINING)]


def _prepare(case: str, name: str, settings: BenchmarkSettings, dtype_name: str, measured: Measured) -> None:
    """Measures memory in another process, builds the contender here, and runs it once to count."""
    if settings.measure_memory:
        use = measure_peak_memory(case, name, settings, dtype_name)
        measured.peak_bytes[name] = use.peak_bytes
        if use.note:
            measured.notes[name] = use.note
    try:
        dtype = getattr(torch, dtype_name)
        eager = prepare_work(case, name, replace(settings, compile_mode=None), dtype)
        if eager.before is not None:
            eager.before()
        flops, output = count_flops(eager.call)
        if name not in QUANTIZED:  # whose products torch does not count
            measured.flops[name] = flops
        measured.outputs[name] = output.float().cpu()
        work = eager if settings.compile_mode is None else prepare_work(case, name, settings, dtype)
        measured.works.append(work)
    except Exception as error:
        measured.notes[name] = out_of_memory_message(error)


def _row_names(names: list[str], measured: Measured) -> list[str]:
    return [*names, AGAIN] if any(work.name == AGAIN for work in measured.works) else names


def _row(
    case: str, name: str, dtype: torch.dtype, measured: Measured, timings: Timings, product_flops: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "contender": name,
        "time": as_mapping(timings.time(name)),
        "ratio_to_clip": as_mapping(timings.ratio(name, "clip")) if name != "clip" else None,
        "speedup_over_plain": as_mapping(timings.ratio("plain", name)) if name != "plain" else None,
        "gflop": measured.flops[name] / 1e9 if name in measured.flops else None,
        "utilisation": utilisation(measured.flops.get(name), name, timings, product_flops),
        "peak_bytes": measured.peak_bytes.get(name),
        "note": measured.notes.get(name),
    }
    plain_peak = measured.peak_bytes.get("plain")
    if name != "plain" and row["peak_bytes"] and plain_peak:
        row["peak_to_plain"] = row["peak_bytes"] / plain_peak
    if name.startswith("vita") and {name, "plain"} <= measured.outputs.keys():
        row["difference"] = largest_difference(case, measured.outputs[name], measured.outputs["plain"])
        if dtype == torch.float32 and name not in QUANTIZED and row["difference"] > tolerance(case):
            row["note"] = f"differs from the equations by more than {tolerance(case):.0e}"
    return row


def as_mapping(spread: Any) -> dict[str, float] | None:
    """A spread as the tables keep it."""
    return None if spread is None else asdict(spread)


def utilisation(flops: int | None, name: str, timings: Timings, product_flops: int) -> dict[str, float] | None:
    """Operations per second over those of the matrix product, round by round."""
    if flops is None or timings.ratio(name, MATRIX_PRODUCT) is None:
        return None
    pairs = zip(timings.seconds[name], timings.seconds[MATRIX_PRODUCT], strict=True)
    return asdict(Spread.of([(flops / own) / (product_flops / product) for own, product in pairs]))


def largest_difference(case: str, own: torch.Tensor, plain: torch.Tensor) -> float:
    """Of unit-length features, or of logits or the loss of the first step."""
    if case in ("forward", "text"):
        own, plain = (nn.functional.normalize(features, dim=-1) for features in (own, plain))
    return (own - plain).abs().max().item()


def tolerance(case: str) -> float:
    """How far float32 may be from the equations: logits are cosines times a scale of up to 100."""
    return TOLERANCE if case in ("forward", "text") else 100 * TOLERANCE


def differing_tables(tables: list[Table]) -> list[str]:
    """Titles of the tables that hold a row whose outputs are not those of the equations."""
    return [table.title for table in tables if any("differs from" in str(row.get("note") or "") for row in table.rows)]


def _key(case: str, dtype: str, settings: BenchmarkSettings) -> str:
    shape: Mapping[str, str] = {
        "forward": f"b{settings.batch}-t{settings.frames}",
        "train": f"b{settings.batch}-t{settings.frames}-c{settings.classes}",
        "text": f"c{settings.classes}",
        "latency": f"t{settings.frames}-c{settings.classes}",
    }
    compiled = f"-{settings.compile_mode}" if settings.compile_mode else ""
    return f"{case}-{settings.model}-{shape[case]}-{dtype}{compiled}"


def _title(case: str, dtype: str, settings: BenchmarkSettings) -> str:
    clips = f"{settings.batch} clips of {settings.frames} frames"
    shape: Mapping[str, str] = {
        "forward": clips,
        "train": f"{clips}, {settings.classes} classes",
        "text": f"{settings.classes} classes",
        "latency": f"{settings.frames} frames, {settings.classes} classes known",
    }
    compiled = f", compiled ({settings.compile_mode})" if settings.compile_mode else ""
    return f"{TITLES[case]}: {settings.model}, {shape[case]}, {dtype}{compiled}"


def _note(case: str, settings: BenchmarkSettings) -> str:
    contexts = f"{settings.contexts} learned contexts each"
    notes = {
        "forward": "Clips to video features, no gradient. `CLIPModel` sees the same frames and has no prompts.",
        "train": f"Forward, backward and AdamW of all prompts, {contexts}. bfloat16 is autocast over float32 weights.",
        "text": f"Class names to text features, {contexts}, no gradient. CLIP and X-CLIP encode the same texts with "
        "words in the place of the contexts, padded to 77 as their pipelines do.",
        "latency": "One clip to logits, class features known; X-CLIP without its prompts that depend on the video.",
    }
    return f"{notes[case]} Medians of {settings.rounds} rounds in turns; in brackets quartiles and minimum."
