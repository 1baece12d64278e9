"""The calls that are measured, of any contender: video tower, class names, training step."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .contenders import COMPILED, build, class_encoder, loss_of, specialise
from .peak_memory import peak_bytes
from .sizes import Settings, random_clips

ROOT = Path(__file__).resolve().parents[1]
LEARNING_RATE = 1e-5  # small: the step is timed, and all rounds are to see the same numbers


def prepare(case: str, contender: str, settings: Settings) -> Callable[[], torch.Tensor]:
    """
    Builds a contender and its inputs on the device.

    Args:
        case: `"forward"`, `"text"` or `"train"`.
        contender: one of `CONTENDERS`, with the ending `-compiled` through `torch.compile`.
        settings: sizes and precision.

    Returns:
        A call that gives features `(B, D')` or `(C, D')`, or the loss.

    Raises:
        ValueError: an unknown contender, or one without prompts in `"train"`.
    """
    if case == "train":
        return _training_step(contender, settings)
    dtype = getattr(torch, settings.dtype)
    model = build(contender, settings)
    model.model.eval().requires_grad_(False).to(device=settings.device, dtype=dtype)
    specialise(contender, model)
    if case == "text":
        return _without_gradient(_compiled(class_encoder(contender, model, settings), contender, settings))

    def embed(clips: torch.Tensor) -> torch.Tensor:
        return model.encode_videos(clips).video_embeds

    return _without_gradient(_compiled(embed, contender, settings), random_clips(settings).to(dtype))


def _compiled(call: Callable[..., Any], contender: str, settings: Settings) -> Callable[..., Any]:
    """`call`, through `torch.compile` if the contender asks for it."""
    if not contender.endswith(COMPILED):
        return call
    return torch.compile(call, mode=settings.compile_mode, dynamic=False)


def _without_gradient(call: Callable[..., torch.Tensor], *arguments: Any) -> Callable[[], torch.Tensor]:
    def run() -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # outputs of an earlier recorded graph may be overwritten
        with torch.no_grad():
            return call(*arguments)

    return run


def _training_step(contender: str, settings: Settings) -> Callable[[], torch.Tensor]:
    """Forward, backward and AdamW on all that is learned; in bfloat16 by autocast, as the Trainer does it."""
    model = build(contender, settings)
    model.model.train().to(settings.device)
    specialise(contender, model)
    clips = random_clips(settings)
    labels = torch.zeros(settings.batch, dtype=torch.long, device=settings.device)
    learned = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, fused=True)
    compute_loss = _compiled(loss_of(model, settings), contender, settings)
    device_type, autocast = torch.device(settings.device).type, settings.dtype != "float32"

    def step() -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=autocast):
            loss = compute_loss(clips, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone()

    return step


def peak_in_own_process(case: str, contender: str, settings: Settings) -> int | str | None:
    """
    Peak memory of the call in a new process, by `peak_bytes`.

    Returns:
        Bytes, `None` if the system does not say, or `"out of memory"`.

    Raises:
        RuntimeError: the process failed for another reason.
    """
    question = json.dumps({"case": case, "contender": contender, "settings": asdict(settings)})
    command = [sys.executable, "-m", "benchmarks.cases", question]
    finished = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=False)
    # Linux kills a process with signal 9 if memory ends.
    if finished.returncode == -9 or any(words in finished.stderr for words in ("out of memory", "not enough memory")):
        return "out of memory"
    if finished.returncode:
        raise RuntimeError(f"Measuring the memory of {contender} ({case}) failed:\n{finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def _answer(question: dict[str, Any]) -> None:
    """Runs in the process that `peak_in_own_process` starts."""
    settings = Settings(**question["settings"])
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    print(json.dumps(peak_bytes(lambda: prepare(question["case"], question["contender"], settings), settings.device)))


if __name__ == "__main__":
    _answer(json.loads(sys.argv[1]))
