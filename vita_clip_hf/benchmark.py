"""`vita-clip benchmark`: how fast a checkpoint runs on this machine, and how much memory it takes."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Result:
    """
    One row of the table.

    Args:
        what: the work that was timed.
        seconds: median time of one call.
        clips_per_second: clips of a call over its median time.
        peak_bytes: peak memory until then: on a GPU as torch allocated it, otherwise the resident set of the whole
            process, libraries included. `None` if the system does not say.
    """

    what: str
    seconds: float
    clips_per_second: float
    peak_bytes: int | None


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command `benchmark`."""
    parser = commands.add_parser(
        "benchmark",
        help="the speed and memory of your model on this machine",
        description="Times a checkpoint from clips in memory and, with --videos, from files. The features of its "
        "classes are computed once before. The comparison with CLIP, X-CLIP and the plain equations is a part of the "
        "repository: python -m benchmarks",
        epilog="example: vita-clip benchmark --model demo_output/adapter --videos *.mp4 --dtype bfloat16",
    )
    parser.add_argument("--model", required=True, help="adapter or full checkpoint: a folder or a Hub id")
    parser.add_argument("--videos", nargs="+", type=Path, default=[], metavar="FILE", help="also measure from files")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="clips in a call (default: %(default)s)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, else the CPU)")
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    parser.add_argument("--cpu-kernels", action="store_true", help="call use_cpu_kernels(model) first")
    parser.add_argument("--seconds", type=float, default=2.0, help="to time each row for (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measures as the parsed options say, and prints the result."""
    results = measure(
        options.model,
        options.videos,
        dtype=options.dtype,
        batch_size=options.batch_size,
        device=options.device,
        compile_model=options.compile,
        cpu_kernels=options.cpu_kernels,
        seconds=options.seconds,
    )
    print(json.dumps([asdict(result) for result in results], indent=1) if options.json else as_table(results))


def measure(
    model: str,
    videos: Sequence[Path] = (),
    *,
    dtype: str = "float32",
    batch_size: int = 8,
    device: str | None = None,
    compile_model: bool = False,
    cpu_kernels: bool = False,
    seconds: float = 2.0,
) -> list[Result]:
    """
    Times a checkpoint on this machine.

    Args:
        model: adapter or full checkpoint with classes of its own: a folder or a Hub id.
        videos: files; each row that reads files takes `batch_size` of them, repeated if there are fewer.
        dtype: of the weights, one of `DTYPES`.
        batch_size: clips in a call.
        device: by default the first GPU, else the CPU.
        compile_model: run the model through `torch.compile`.
        cpu_kernels: call `use_cpu_kernels(model)` first.
        seconds: how long each row is timed at least.

    Returns:
        One result for each row.

    Raises:
        OSError: no such checkpoint or file, or a video that cannot be read.
        ValueError: a model without classes, an unknown device, or a number outside its range.
    """
    import torch

    from .modeling.modeling_vita_clip import VitaClipModel
    from .modeling.processing_vita_clip import VitaClipProcessor
    from .models import available_device

    if batch_size < 1 or seconds <= 0:
        raise ValueError(f"batch_size must be at least 1 and seconds above 0; found {batch_size} and {seconds}.")
    for video in videos:
        if not video.is_file():
            raise FileNotFoundError(f"{video}: no such file")
    place = available_device(device)
    try:
        loaded = VitaClipModel.from_pretrained(model, dtype=getattr(torch, dtype)).eval().to(place)
    except OSError as error:
        raise OSError(f"{model} cannot be loaded as a checkpoint: {error}") from error
    if loaded.config.label_token_ids is None:
        raise ValueError(f"{model} has no classes of its own; expected an adapter or a checkpoint of Vita-CLIP.")
    if cpu_kernels:
        from .modeling.cpu_vita_clip import use_cpu_kernels

        use_cpu_kernels(loaded)
    loaded.hold_class_features()
    if compile_model:
        loaded.compile()

    def classify(pixel_values: torch.Tensor) -> Any:
        with torch.no_grad():
            return loaded(pixel_values.to(place, loaded.dtype)).logits_per_video.argmax(dim=-1).tolist()

    side = loaded.config.vision_config.image_size
    clips = torch.randn(batch_size, loaded.config.num_frames, 3, side, side)
    results = [_timed("one clip in memory", lambda: classify(clips[:1]), 1, place, seconds)]
    if batch_size > 1:
        results.append(_timed(f"{batch_size} clips in memory", lambda: classify(clips), batch_size, place, seconds))
    if videos:
        processor = VitaClipProcessor.from_pretrained(model)
        files = [str(video) for video in islice(cycle(videos), batch_size)]

        def read() -> torch.Tensor:
            return processor(videos=files, return_tensors="pt")["pixel_values"]

        results.append(_timed(f"{batch_size} files, read and resized", read, batch_size, place, seconds))
        whole = _timed(f"{batch_size} files, from file to class", lambda: classify(read()), batch_size, place, seconds)
        results.append(whole)
    return results


def as_table(results: Sequence[Result]) -> str:
    """The results as text, one line each."""
    lines = [f"{'':32}{'time':>12}{'clips/s':>12}{'peak memory':>14}"]
    for result in results:
        peak = "unknown" if result.peak_bytes is None else f"{result.peak_bytes / 1e9:.2f} GB"
        time = f"{result.seconds * 1e3:,.1f} ms"
        lines.append(f"{result.what:32}{time:>12}{result.clips_per_second:>12,.1f}{peak:>14}")
    return "\n".join(lines)


def _timed(what: str, call: Callable[[], Any], clips: int, device: Any, seconds: float) -> Result:
    import torch
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    median = timer.blocked_autorange(min_run_time=seconds).median  # its first call is a warm-up
    return Result(what, median, clips / median, _peak_bytes(device))


def _peak_bytes(device: Any) -> int | None:
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


__all__ = ["Result", "add_parser", "as_table", "measure", "run"]
