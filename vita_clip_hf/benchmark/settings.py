"""What a run of the benchmark measures."""

from dataclasses import dataclass, replace
from pathlib import Path

MODEL_CASES = ("forward", "train", "text", "latency")
FILE_CASES = ("decode", "files")
SCALING_AXES = ("frames", "classes", "batch", "views", "size")
CASES = (*MODEL_CASES, *FILE_CASES, "memory", "profile", "scaling", *(f"scaling-{axis}" for axis in SCALING_AXES))
DEFAULT_CASES = ("forward", "text", "latency", "decode")
CONTENDERS = ("clip", "xclip", "plain", "vita", "vita-bf16", "vita-checkpoint", "vita-int8")
# Of CONTENDERS those that have training of their own; of the last two the rest would be what "vita" is in bfloat16.
LEARNERS = ("plain", "vita", "vita-bf16", "vita-checkpoint")
ONLY_TRAINING = ("vita-bf16", "vita-checkpoint")
# Approximations, which need not equal the equations, and the cases that are measured on them.
QUANTIZED, QUANTIZED_CASES = ("vita-int8",), ("forward", "latency")
DTYPES = ("float32", "bfloat16")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True)
class BenchmarkSettings:
    """
    Args:
        cases: of `CASES`; `scaling` stands for all of its axes.
        contenders: of `CONTENDERS`; `None` is all that can be had here.
        model: a name of `sizes.SIZES` (random weights), or a CLIP or Vita-CLIP checkpoint: a folder or a Hub id.
        dtypes: of `DTYPES`. Inference in bfloat16 has weights in bfloat16; training has float32 weights and autocast.
        device: such as `"cpu"` or `"cuda"`.
        batch: clips at once.
        frames: of a clip.
        classes, contexts: classes, and learned contexts of each.
        rounds: each takes every contender once, in turns.
        warmup: untimed calls before the rounds.
        threads: of torch on the CPU; `None` leaves it as it is.
        compile_mode: of `torch.compile`; `None` runs eagerly. `"reduce-overhead"` records CUDA graphs.
        measure_memory: also run each row once in a process of its own for its peak memory.
        videos: files for `decode` and `files`; none: generated ones.
        clips_from_files: read in each round of `decode` and `files`.
        workers: numbers of reading processes to try.
        scale_frames, scale_classes, scale_batch, scale_views, scale_size: points of the scaling tables.
        seed: of weights, clips and class names.

    Raises:
        ValueError: an unknown name, or a number outside its range.
    """

    cases: tuple[str, ...] = DEFAULT_CASES
    contenders: tuple[str, ...] | None = None
    model: str = "base-16"
    dtypes: tuple[str, ...] = ("float32",)
    device: str = "cpu"
    batch: int = 2
    frames: int = 8
    classes: int = 400
    contexts: int = 8
    rounds: int = 5
    warmup: int = 1
    threads: int | None = None
    compile_mode: str | None = None
    measure_memory: bool = True
    videos: tuple[Path, ...] = ()
    clips_from_files: int = 32
    workers: tuple[int, ...] = (0, 1, 2)
    scale_frames: tuple[int, ...] = (4, 8, 16, 32, 64)
    scale_classes: tuple[int, ...] = (10, 100, 400, 1000, 10_000)
    scale_batch: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    scale_views: tuple[int, ...] = (1, 2, 3, 4, 12)
    scale_size: tuple[str, ...] = ("base-32", "base-16", "large-14")
    seed: int = 0

    def __post_init__(self) -> None:
        _check_names("case", self.cases, CASES)
        _check_names("contender", self.contenders or (), CONTENDERS)
        _check_names("dtype", self.dtypes, DTYPES)
        _check_names("compile mode", (self.compile_mode,) if self.compile_mode else (), COMPILE_MODES)
        for field in ("batch", "frames", "classes", "contexts", "rounds", "clips_from_files"):
            _check_at_least(1, field, getattr(self, field))
        for field in ("scale_frames", "scale_classes", "scale_batch", "scale_views"):
            for value in getattr(self, field):
                _check_at_least(1, field, value)
        for value in (self.warmup, *self.workers):
            _check_at_least(0, "warmup and workers", value)
        if self.threads is not None:
            _check_at_least(1, "threads", self.threads)
        missing = [str(path) for path in self.videos if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"No such video file: {missing[0]} ({len(missing)} of {len(self.videos)} missing)")

    @property
    def expanded_cases(self) -> tuple[str, ...]:
        """The cases with `scaling` replaced by its axes, each once, in the order of `CASES`."""
        chosen = {axis for case in self.cases for axis in ([case] if case != "scaling" else scaling_cases())}
        return tuple(case for case in CASES if case in chosen)


def scaling_cases() -> list[str]:
    """The names of the scaling tables as cases."""
    return [f"scaling-{axis}" for axis in SCALING_AXES]


def quick(settings: BenchmarkSettings) -> BenchmarkSettings:
    """The same cases on the tiny model, in seconds: to see that everything runs, not how fast."""
    return replace(
        settings,
        model="tiny",
        frames=4,
        classes=8,
        rounds=min(settings.rounds, 3),
        clips_from_files=4,
        workers=(0,),
        scale_frames=(2, 4, 8),
        scale_classes=(4, 16),
        scale_batch=(1, 2, 4),
        scale_views=(1, 2),
        scale_size=("tiny",),
    )


def _check_names(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"Unknown {what} {name!r}; expected one of {', '.join(known)}.")


def _check_at_least(least: int, field: str, value: int) -> None:
    if value < least:
        raise ValueError(f"{field} must be at least {least}, found {value}.")
