"""The calls that are timed on a model: forward, training step, text tower and latency, of any contender."""

from collections.abc import Callable
from typing import Any

import torch

from .contenders import Contender, build_contender
from .settings import BenchmarkSettings
from .timing import Work

LEARNING_RATE = 1e-5  # small: what is timed is the step, and all rounds are to see the same numbers


def prepare_work(case: str, contender_name: str, settings: BenchmarkSettings, dtype: torch.dtype) -> Work:
    """
    Builds a contender for one of `MODEL_CASES`, on the device of the settings.

    Raises:
        ValueError: a contender that does not learn prompts, for `train`.
    """
    contender = build_contender(contender_name, settings)
    prepare = {"forward": _forward, "train": _training_step, "text": _text, "latency": _latency}[case]
    return prepare(contender, contender_name, settings, dtype)


def random_clips(
    batch: int, settings: BenchmarkSettings, contender: Contender, frames: int | None = None
) -> torch.Tensor:
    """Normally distributed clips `(B, T, 3, H, W)`, float32 on the device, the same for every contender."""
    generator = torch.Generator().manual_seed(settings.seed)
    side = _image_size(contender)
    clips = torch.randn(batch, frames or settings.frames, 3, side, side, generator=generator)
    return clips.to(settings.device)


def _image_size(contender: Contender) -> int:
    config: Any = contender.model.config
    return getattr(config, "vision_config", config).image_size


def as_inference(contender: Contender, settings: BenchmarkSettings, dtype: torch.dtype) -> Contender:
    """The contender's model in evaluation, on the device, its weights in `dtype` and without gradients."""
    contender.model.eval().requires_grad_(False).to(device=settings.device, dtype=dtype)
    contender.quantize()
    return contender


def compiled(call: Callable[..., Any], settings: BenchmarkSettings) -> Callable[..., Any]:
    """The call through `torch.compile`, where the settings ask for it."""
    if settings.compile_mode is None:
        return call
    return torch.compile(call, mode=settings.compile_mode, dynamic=False)


def _forward(contender: Contender, name: str, settings: BenchmarkSettings, dtype: torch.dtype) -> Work:
    """Clips to video features."""
    contender = as_inference(contender, settings, dtype)
    clips = random_clips(settings.batch, settings, contender).to(dtype)
    return Work(name, without_gradient(compiled(contender.video, settings), clips))


def _latency(contender: Contender, name: str, settings: BenchmarkSettings, dtype: torch.dtype) -> Work:
    """One clip to the logits of classes whose features are known."""
    contender = as_inference(contender, settings, dtype)
    clips = random_clips(1, settings, contender).to(dtype)
    with torch.no_grad():
        text_features = contender.text()
    return Work(name, without_gradient(compiled(contender.logits, settings), clips, text_features))


def _text(contender: Contender, name: str, settings: BenchmarkSettings, dtype: torch.dtype) -> Work:
    """Class names to text features, nothing kept from before."""
    contender = as_inference(contender, settings, dtype)
    return Work(name, without_gradient(compiled(contender.text, settings)), before=contender.forget)


def without_gradient(call: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """`call` on `arguments`, without gradients; a recorded graph's earlier outputs are let go."""

    def run() -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.no_grad():
            return call(*arguments)

    return run


def _training_step(contender: Contender, name: str, settings: BenchmarkSettings, dtype: torch.dtype) -> Work:
    """Forward, backward and AdamW on all that is learned; below float32 by autocast, as the Trainer does it."""
    if not contender.trains:
        raise ValueError(f"The contender {name!r} learns no prompts: leave it out of the case 'train'.")
    model = contender.model.train().to(settings.device)
    clips = random_clips(settings.batch, settings, contender)
    labels = torch.zeros(settings.batch, dtype=torch.long, device=settings.device)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, fused=True)
    compute_loss = compiled(contender.loss, settings)
    device_type = torch.device(settings.device).type

    def step() -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype != torch.float32):
            loss = compute_loss(clips, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone()

    return Work(name, step)
