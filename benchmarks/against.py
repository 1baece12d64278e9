"""
The same measurement in two environments in turns, such as the commit before a change and the one after it:

    python benchmarks/against.py OTHER_PYTHON

OTHER_PYTHON is the Python of an environment that has the other commit installed. Ratios are time and memory here over
those there: below 1 is faster and smaller here. Weights are random, and of the package only VitaClipModel and
VitaClipConfig are used. It runs as a script, so that each Python imports the package of its own environment.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

CASES = ("forward", "compiled", "train")
TINY_TOWERS = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}


def main() -> None:
    """Starts the measuring processes case by case, lets them take turns, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", metavar="OTHER_PYTHON", help="Python of the environment to compare with")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=("float32", "bfloat16"))
    parser.add_argument("--batch", type=int, default=2, help="clips of 8 frames (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--cpu-kernels", action="store_true", help="also with use_cpu_kernels here, uncompiled")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that everything runs")
    options = parser.parse_args()
    print(
        f"{'':32}{'there':>10}{'here':>10}{'time ratio (quartiles)':>26}{'memory there, here, ratio':>30}", flush=True
    )
    for case in options.cases:
        for dtype in options.dtype:
            asked = {"case": case, "dtype": dtype, "batch": options.batch, "quick": options.quick}
            sides = [(options.other, asked), (sys.executable, asked)]
            if options.cpu_kernels and case != "compiled":
                sides.append((sys.executable, {**asked, "cpu_kernels": True}))
            compare(f"{case} {dtype}", sides, options.rounds)


def compare(name: str, sides: list[tuple[str, dict[str, Any]]], rounds: int) -> None:
    """Prints one line for each side but the first, with which all are compared."""
    processes: list[Any] = []
    peaks: list[int | None] = []
    for python, asked in sides:
        command = [python, __file__, "--measure", json.dumps(asked)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"))
        peaks.append(_next(processes[-1]))  # waits for it, so that the next one starts alone
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for process, own in zip(processes, seconds, strict=True):
            process.stdin.write("\n")
            process.stdin.flush()
            own.append(_next(process))
    for process in processes:
        process.communicate()
    there = statistics.median(seconds[0])
    for (_, asked), own, peak in list(zip(sides, seconds, peaks, strict=True))[1:]:
        ratios = [here / other for here, other in zip(own, seconds[0], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if rounds > 1 else ratios * 3
        time = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        other_peak = peaks[0] or 0
        memory = f"{other_peak / 1e9:.2f} GB, {peak / 1e9:.2f} GB, {peak / other_peak:.2f}" if peak else "unknown"
        label = name + ", CPU kernels" * bool(asked.get("cpu_kernels"))
        print(f"{label:32}{there:9.3f}s{statistics.median(own):9.3f}s{time:>26}{memory:>30}", flush=True)


def _next(process: Any) -> Any:
    """The next number that a process prints."""
    line = process.stdout.readline()
    if not line:
        raise SystemExit("A measuring process ended early; its error is above.")
    return json.loads(line)


def measure(asked: dict[str, Any]) -> None:
    """Runs in a measuring process: prints its peak memory, then a time for each line of the input."""
    from peak_memory import peak_bytes  # the file beside this one
    from torch import get_num_threads
    from torch.utils.benchmark import Timer

    from vita_clip_hf import VitaClipModel  # noqa: F401 - loaded first: libraries are no part of the peak

    call: Callable[[], Any] | None = None

    def prepared() -> Callable[[], Any]:
        nonlocal call
        call = prepare(asked)
        return call

    print(json.dumps(peak_bytes(prepared)), flush=True)
    timer = Timer("call()", globals={"call": call}, num_threads=get_num_threads())
    for _ in sys.stdin:
        print(timer.blocked_autorange(min_run_time=0.02).median, flush=True)


def prepare(asked: dict[str, Any]) -> Callable[[], Any]:
    """The measured call: clips to video features, or a training step."""
    import torch

    from vita_clip_hf import VitaClipConfig, VitaClipModel

    torch.manual_seed(0)
    vision, text, classes = {"patch_size": 16}, {}, 400
    if asked["quick"]:
        vision, text, classes = vision | TINY_TOWERS | {"image_size": 32}, TINY_TOWERS, 4
    text = {"bos_token_id": 49406, "eos_token_id": 49407, **text}
    config = VitaClipConfig(vision_config=vision, text_config=text)
    config.set_label_names([f"class {index}" for index in range(classes)])
    config.label_token_ids = [[49406, *[320 + index] * (1 + index % 6), 269, 49407] for index in range(classes)]
    model = VitaClipModel(config)
    if asked.get("cpu_kernels"):
        from vita_clip_hf.modeling.cpu_vita_clip import use_cpu_kernels

        use_cpu_kernels(model)
    side, dtype = config.vision_config.image_size, getattr(torch, asked["dtype"])
    clips = torch.randn(asked["batch"], config.num_frames, 3, side, side)
    if asked["case"] == "train":
        return _training_step(model.train(), clips, autocast=dtype != torch.float32)
    model.eval().requires_grad_(False).to(dtype)
    embed = torch.compile(model.get_video_features) if asked["case"] == "compiled" else model.get_video_features
    return torch.no_grad()(lambda: embed(clips.to(dtype)).pooler_output)


def _training_step(model: Any, clips: Any, autocast: bool) -> Callable[[], None]:
    import torch

    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-5, fused=True)
    labels = torch.zeros(len(clips), dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = model(clips, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(json.loads(sys.argv[2]))
    else:
        main()
