"""Timing in turns: A B C, A B C, ... so that whatever else the machine does falls on all alike."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

SHORTEST_SAMPLE = 0.01  # seconds; what is shorter is repeated within one sample


@dataclass
class Work:
    """
    One thing to time.

    Args:
        name: in tables.
        call: what is timed.
        before: run before each call, untimed; a work with it is never repeated within a sample.
    """

    name: str
    call: Callable[[], Any]
    before: Callable[[], None] | None = None


@dataclass(frozen=True)
class Spread:
    """Median, minimum and quartiles of one number per round."""

    median: float
    minimum: float
    q1: float
    q3: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value per round, at least one; quartiles are interpolated linearly."""
        if not values:
            raise ValueError("A spread needs at least one value.")
        q1, median, q3 = (float(quantile) for quantile in np.quantile(values, (0.25, 0.5, 0.75)))
        return cls(median, float(min(values)), q1, q3, len(values))


@dataclass
class Timings:
    """Seconds of each round by name, and for those that ran out of memory why they have none."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def time(self, name: str) -> Spread | None:
        """Seconds of one call."""
        return Spread.of(self.seconds[name]) if self.seconds.get(name) else None

    def ratio(self, name: str, to: str) -> Spread | None:
        """Time of `name` over that of `to`, round by round; `None` where either was not measured."""
        if not self.seconds.get(name) or not self.seconds.get(to):
            return None
        return Spread.of([own / other for own, other in zip(self.seconds[name], self.seconds[to], strict=True)])


def time_in_turns(
    works: Sequence[Work], rounds: int, warmup: int, device: str, after_each: Callable[[Work], None] | None = None
) -> Timings:
    """
    Times every work once in each round, in the order given.

    Args:
        works: of different names.
        rounds: how many.
        warmup: untimed calls of each before; one more decides how often a short work is repeated in a sample.
        device: whose clock counts.
        after_each: called after every timed sample, for a progress bar.

    Returns:
        Seconds of one call of each. A work that runs out of memory leaves the others be: it has a failure instead.
    """
    timings = Timings()
    repeats = {work.name: _try(timings, work, _warm_up, warmup, device) for work in works}
    timings.seconds = {work.name: [] for work in works if work.name not in timings.failures}
    for _ in range(rounds):
        for work in works:
            if work.name in timings.failures:
                continue
            seconds = _try(timings, work, _sample, repeats[work.name], device)
            if seconds is None:
                del timings.seconds[work.name]
            else:
                timings.seconds[work.name].append(seconds)
            if after_each is not None:
                after_each(work)
    return timings


def _try(timings: Timings, work: Work, measure: Callable[..., Any], *arguments: Any) -> Any:
    """`measure(work, *arguments)`, or `None` and a failure of the work where memory ended."""
    try:
        return measure(work, *arguments)
    except Exception as error:
        timings.failures[work.name] = out_of_memory_message(error)
        return None


def _warm_up(work: Work, calls: int, device: str) -> int:
    """Calls the work `calls` times and once more. Returns how many calls a sample needs."""
    for _ in range(calls):
        _sample(work, 1, device)
    seconds = _sample(work, 1, device)
    return _repeats(seconds) if work.before is None else 1


def out_of_memory_message(error: BaseException) -> str:
    """What a table says of an error that is lack of memory; any other error is raised again."""
    is_cpu = isinstance(error, RuntimeError) and "not enough memory" in str(error)
    if not (is_cpu or isinstance(error, (MemoryError, torch.OutOfMemoryError))):
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return "out of memory"


def _repeats(seconds: float) -> int:
    return max(1, math.ceil(SHORTEST_SAMPLE / max(seconds, 1e-7)))


def _sample(work: Work, repeats: int, device: str) -> float:
    """Seconds of one call, from `repeats` calls without a pause."""
    if work.before is not None:
        work.before()
    timed = _timed_by_events if torch.device(device).type == "cuda" else _timed_by_clock
    return timed(work.call, repeats) / repeats


def _timed_by_clock(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def _timed_by_events(call: Callable[[], Any], repeats: int) -> float:
    """By the device's own clock: what the host does beside it does not count, waiting for the host does."""
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
