"""Time in turns, operations, differences from the equations and peak memory: one row for each contender."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from .cases import peak_in_own_process, prepare
from .contenders import COMPILED, title_of
from .sizes import Settings

MATRIX_PRODUCT = "matrix product"
SHORTEST_SAMPLE = 0.02  # seconds; a shorter call is repeated within one sample
TOLERANCE = {"forward": 1e-5, "text": 1e-5, "train": 1e-3}  # in float32, of unit-length features and of the loss


@dataclass(frozen=True)
class Point:
    """
    One row.

    Args:
        case, contender, settings: see `cases.prepare`.
        units: the number of frames, clips or classes, or the size, along which a growth table goes.
    """

    case: str
    contender: str
    settings: Settings
    units: int | str | None = None

    @property
    def key(self) -> str:
        """Its name among the points of a table."""
        return f"{self.contender} {self.case} {self.units}"


def measure_points(
    points: Sequence[Point], rounds: int, memory: bool = True, time: bool = True, description: str = ""
) -> list[dict[str, Any]]:
    """
    Measures points in turns.

    Args:
        points: of one dtype and device.
        rounds: each takes every point once; the equations, which are slow, take part in the first third of them.
        memory: also measure each once in a process of its own. One that runs out of memory there is not timed.
        time: measure time, operations and the difference from the equations.
        description: of the progress bar.

    Returns:
        A row for each point: `label`, `contender`, `units`, `seconds` (one of each round), `gflop`, `difference`,
        `peak_bytes`, `note`; and one for a large matrix product. What was not measured is left out.
    """
    rows: dict[str, dict[str, Any]] = {
        point.key: {"label": title_of(point.contender), "contender": point.contender} for point in points
    }
    calls: dict[str, Callable[[], Any]] = {}
    outputs: dict[str, torch.Tensor] = {}
    equations_first = sorted(points, key=lambda point: point.contender != "plain")
    for point in tqdm(equations_first, desc=f"{description}: memory and operations", disable=not description):
        row = rows[point.key]
        if point.units is not None:
            row["units"] = point.units
        if memory:
            peak = peak_in_own_process(point.case, point.contender, point.settings)
            row["note" if isinstance(peak, str) else "peak_bytes"] = peak
            if isinstance(peak, str):
                continue
        if time:
            calls[point.key] = _counted(point, row, outputs)
    if not calls:
        return list(rows.values())
    calls = {key: calls[key] for key in rows if key in calls}
    calls[MATRIX_PRODUCT], gflop = matrix_product(points[0].settings)
    for key, seconds in time_in_turns(calls, rounds, description).items():
        rows.setdefault(key, {"label": MATRIX_PRODUCT, "contender": MATRIX_PRODUCT, "gflop": gflop})
        rows[key]["seconds"] = seconds
    return list(rows.values())


def time_in_turns(
    calls: Mapping[str, Callable[[], Any]], rounds: int, description: str = ""
) -> dict[str, list[float]]:
    """
    Times A B C, A B C, ...: other work on the machine falls on all alike, and each round gives one ratio.

    Returns:
        Seconds of one call, one number a round. `torch.utils.benchmark` runs each call once untimed in every round,
        repeats short ones, and waits for a GPU.
    """
    threads = torch.get_num_threads()
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    few = max(1, rounds // 3)
    for number in tqdm(range(rounds), desc=f"{description}: rounds", disable=not description):
        for name, timer in timers.items():
            if not name.startswith("plain ") or number < few:
                seconds[name].append(timer.blocked_autorange(min_run_time=SHORTEST_SAMPLE).median)
    return seconds


def count_operations(call: Callable[[], Any]) -> tuple[float, Any]:
    """
    Runs `call` once.

    Returns:
        GFLOP of its matrix products and convolutions, attention's included, a multiplication and an addition counting
        as two; and its result. Attention runs as plain products meanwhile, which torch counts on every device.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = call()
    return counter.get_total_flops() / 1e9, result


def _counted(point: Point, row: dict[str, Any], outputs: dict[str, torch.Tensor]) -> Callable[[], Any]:
    """
    The point's call. Adds its operations to the row, and how far its result is from that of the equations, if these
    came before; both are taken from the call that is not compiled.
    """
    name = point.contender.removesuffix(COMPILED)
    call = prepare(point.case, name, point.settings)
    if name == "vita-held":  # it computes nothing
        return call
    gflop, output = count_operations(call)
    row["gflop"] = gflop
    outputs[f"{name} {point.units}"] = output = output.float().cpu()
    plain = outputs.get(f"plain {point.units}")
    if plain is not None and name.startswith("vita"):
        if point.case != "train":
            output, plain = normalize(output, dim=-1), normalize(plain, dim=-1)
        row["difference"] = (output - plain).abs().max().item()
        exact = point.settings.dtype == "float32" and name in ("vita", "vita-cpu")
        if exact and row["difference"] > TOLERANCE[point.case]:
            row["note"] = f"differs from the equations by more than {TOLERANCE[point.case]:.0e}"
    return call if name == point.contender else prepare(point.case, point.contender, point.settings)


def matrix_product(settings: Settings) -> tuple[Callable[[], Any], float]:
    """A product of two large square matrices, the yardstick of a machine's rate, and its GFLOP."""
    dtype = getattr(torch, settings.dtype)
    side = 8192 if torch.device(settings.device).type == "cuda" else 2048 if settings.dtype == "float32" else 4096
    side = 256 if settings.size == "tiny" else side
    left, right = (torch.randn(side, side, device=settings.device).to(dtype) for _ in range(2))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result), 2 * side**3 / 1e9
