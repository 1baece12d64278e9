"""The options of `vita-clip benchmark`."""

import argparse
from pathlib import Path
from typing import Any

from .settings import (
    CASES,
    COMPILE_MODES,
    CONTENDERS,
    DEFAULT_CASES,
    DTYPES,
    BenchmarkSettings,
    quick,
)

DESCRIPTION = """\
Times Vita-CLIP beside transformers' CLIPModel on the same frames, XCLIPModel of the same size and, in a checkout, the
paper's equations written out one by one. Contenders take turns (A B C, A B C, ...) in one process, so that ratios hold
on a busy machine; operations are counted, and set against the rate of a large matrix product of the same rounds.
"""
CASE_HELP = """\
cases:
  forward    clips to video features
  train      forward, backward and AdamW of the prompts (in float32 give it some minutes: the plain equations are slow)
  text       class names to text features, and what a second call costs
  latency    one clip to logits, class features known
  decode     files to pixels, step by step and with worker processes
  files      inference and training from files: is the model the limit, or the input?
  memory     peak memory over batches and classes, a process for each row
  profile    what a training step's time goes to, by the kind of operation
  scaling    growth with frames, classes, batch, views and size; scaling-frames etc. for one of them

how long: with the default cases and base-16 some ten minutes on two cores, most of it the plain text tower;
`train` adds ten, `scaling` hours unless its points are chosen. On a GPU minutes. --quick takes under a minute.

examples:
  vita-clip benchmark --quick
  vita-clip benchmark forward train --dtype float32 bfloat16 --report docs/performance.md
  vita-clip benchmark forward --contenders clip vita --batch 8 --rounds 11
  vita-clip benchmark scaling-batch --scale-batch 1 2 4 8 --contenders vita
  vita-clip benchmark files --videos *.mp4 --workers 0 2 4
  vita-clip benchmark --report docs/performance.md --render-only
the whole table of a GPU:
  vita-clip benchmark forward train text latency decode files memory profile scaling --device cuda --dtype bfloat16
      --batch 64 --clips-from-files 512 --workers 4 8 16 --rounds 11 --compile default --report docs/performance.md
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser("benchmark", help="how fast it is, beside CLIP, X-CLIP and the plain equations")
    add_arguments(parser)
    parser.set_defaults(run=run_with)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the benchmark's options; their names are those of `BenchmarkSettings`."""
    default = BenchmarkSettings()
    parser.description, parser.epilog = DESCRIPTION, CASE_HELP
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"what to measure (default: {' '.join(DEFAULT_CASES)})"
    )
    parser.add_argument("--quick", action="store_true", help="the tiny model and few points: does everything run?")

    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--model", default=default.model, help="tiny, base-32, base-16, large-14 (random weights), or a checkpoint: a "
        "folder or a Hub id (default: %(default)s)"
    )  # fmt: skip
    what.add_argument(
        "--contenders", nargs="+", metavar="NAME", help=f"of {', '.join(CONTENDERS)} (default: all here)"
    )
    what.add_argument(
        "--dtype", nargs="+", default=list(default.dtypes), metavar="TYPE", help=f"of {', '.join(DTYPES)}"
    )
    what.add_argument("--batch", type=int, default=default.batch, help="clips at once (default: %(default)s)")
    what.add_argument("--frames", type=int, default=default.frames, help="of a clip (default: %(default)s)")
    what.add_argument("--classes", type=int, default=default.classes, help="(default: %(default)s)")
    what.add_argument(
        "--contexts", type=int, default=default.contexts, help="learned, of a class (default: %(default)s)"
    )
    what.add_argument("--videos", nargs="+", type=Path, default=[], metavar="FILE", help="(default: generated ones)")
    what.add_argument(
        "--clips-from-files", type=int, default=default.clips_from_files, help="in a round (default: %(default)s)"
    )

    how = parser.add_argument_group("how it is measured")
    how.add_argument("--device", default="cuda if there, else cpu", help="(default: %(default)s)")
    how.add_argument("--threads", type=int, help="of torch on the CPU (default: as torch chooses)")
    how.add_argument("--rounds", type=int, default=default.rounds, help="each contender once (default: %(default)s)")
    how.add_argument("--warmup", type=int, default=default.warmup, help="untimed calls before (default: %(default)s)")
    how.add_argument(
        "--compile", dest="compile_mode", nargs="?", const="default", metavar="MODE",
        help=f"through torch.compile: {', '.join(COMPILE_MODES)}; reduce-overhead records CUDA graphs"
    )  # fmt: skip
    how.add_argument(
        "--workers", nargs="+", type=int, default=list(default.workers), metavar="N", help="to read files"
    )
    how.add_argument("--no-memory", action="store_true", help="leave out peak memory, which runs each row once more")

    points = parser.add_argument_group("points of the scaling tables")
    for axis, kind in (("frames", int), ("classes", int), ("batch", int), ("views", int), ("size", str)):
        values = getattr(default, f"scale_{axis}")
        shown = " ".join(map(str, values))
        points.add_argument(
            f"--scale-{axis}", nargs="+", type=kind, default=list(values), metavar="N", help=f"(default: {shown})"
        )

    where = parser.add_argument_group("where results go, beside the screen")
    where.add_argument("--out", type=Path, metavar="DIR", help="JSON and Markdown; tables of earlier runs are kept")
    where.add_argument(
        "--report", type=Path, metavar="PAGE.md", help="tables into this page, JSON into the folder PAGE"
    )
    where.add_argument("--render-only", action="store_true", help="render --report again from its JSON and stop")


SAME_NAME = (
    "batch",
    "frames",
    "classes",
    "contexts",
    "rounds",
    "warmup",
    "threads",
    "compile_mode",
    "clips_from_files",
)
POINTS = ("scale_frames", "scale_classes", "scale_batch", "scale_views", "scale_size")


def settings_from(options: argparse.Namespace) -> BenchmarkSettings:
    """
    The settings that parsed options ask for.

    Raises:
        ValueError, OSError: see `BenchmarkSettings`.
    """
    same_name: dict[str, Any] = {name: getattr(options, name) for name in SAME_NAME}
    points: dict[str, Any] = {name: tuple(getattr(options, name)) for name in POINTS}
    settings = BenchmarkSettings(
        cases=tuple(options.cases) or DEFAULT_CASES,
        contenders=tuple(options.contenders) if options.contenders else None,
        model=options.model,
        dtypes=tuple(options.dtype),
        device=_device(options.device),
        measure_memory=not options.no_memory,
        videos=tuple(options.videos),
        workers=tuple(options.workers),
        **same_name,
        **points,
    )
    return quick(settings) if options.quick else settings


def run_with(options: argparse.Namespace) -> None:
    """Runs what parsed options ask for."""
    from .run import render_page, run_benchmark

    if options.render_only:
        if options.report is None:
            raise ValueError("--render-only renders the page that --report names; give both.")
        render_page(options.report)
        return
    run_benchmark(settings_from(options), out=options.out, page=options.report)


def _device(asked: str) -> str:
    if asked != "cuda if there, else cpu":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


__all__ = ["CASES", "add_arguments", "add_parser", "run_with", "settings_from"]
