"""The one loop over clips: the Trainer's evaluation, the demo and the benchmarks run it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import BaseVideoProcessor

from ..data import collate_clips
from ..data.normalization import PixelNormalization
from ..modeling.modeling_vita_clip import VitaClipModel, average_views
from ..models import VideoTextModel, VitaClip

logger = logging.getLogger(__name__)


@dataclass
class Predictions:
    """
    Args:
        logits: `(N, C)`, float32 on the CPU, in the order of the data set; of several views their average.
        labels: `(N,)`, -100 for a video that could not be read; `None` if the data has no labels.
        unreadable: the reason for each video that could not be read, by its name.
    """

    logits: torch.Tensor
    labels: torch.Tensor | None
    unreadable: dict[str, str]


def predict(
    model: VideoTextModel,
    dataset: Dataset,
    processor: BaseVideoProcessor,
    text_embeds: torch.Tensor | None = None,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
    accelerator: Accelerator | None = None,
    description: str = "evaluating",
) -> Predictions:
    """
    Runs a model over a data set of clips, in evaluation mode.

    Args:
        model: on any device.
        dataset: samples with `pixel_values`, uint8 or normalised, `(T, 3, H, W)` or views `(V, T, 3, H, W)`, and
            `labels`: `VideoViews` of files, `DecodedClips` in memory.
        processor: says how the model's pixels are normalised.
        text_embeds: `(C, D')` to compare with; by default the model's own classes.
        batch_size: videos at once, in each process.
        num_workers: processes that read videos, beside each process.
        accelerator: shares the videos out to the processes that `accelerate launch` started. Each process gets the
            predictions of all. Without it a process runs over all videos itself.
        description: of the progress bar.

    Raises:
        OSError: a video cannot be read, unless the data set skips it.
        ValueError: `text_embeds` is missing and the model has no classes of its own, or scores are not finite.
    """
    loader: Any = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_clips,
        generator=torch.Generator(),  # the seed of its workers: not drawn from the global generator
    )
    if accelerator is not None:
        loader = accelerator.prepare(loader)
    normalization = PixelNormalization.of(processor)
    with evaluation_mode(model.model):
        return predict_batches(
            model,
            loader,
            model.encode_classes() if text_embeds is None else text_embeds,
            normalize=lambda pixel_values: normalization(pixel_values, model.dtype),
            accelerator=accelerator,
            description=description,
        )


def predict_logits(
    model: VitaClipModel,
    clips: Dataset,
    processor: BaseVideoProcessor,
    texts: torch.Tensor | None = None,
    batch_size: int = 64,
    description: str = "evaluating",
) -> torch.Tensor:
    """The logits of [`predict`] alone, `(N, C)`, of a [`VitaClipModel`] in one process."""
    return predict(VitaClip(model), clips, processor, texts, batch_size=batch_size, description=description).logits


@torch.no_grad()
def predict_batches(
    model: VideoTextModel,
    batches: Iterable[Mapping[str, Any]],
    text_embeds: torch.Tensor | None,
    *,
    normalize: Callable[[torch.Tensor], torch.Tensor],
    accelerator: Accelerator | None = None,
    description: str = "evaluating",
    progress: bool = True,
) -> Predictions:
    """
    The loop of [`predict`], over batches that are made already.

    Args:
        model: in the mode in which it is to run.
        batches: `pixel_values` `(B, T, 3, H, W)` or `(B, V, T, 3, H, W)`, and maybe `labels` `(B,)` and `skipped`,
            a list of (video, reason).
        text_embeds: as `model.score` takes it.
        normalize: pixels, on the model's device, to what the model expects.
        accelerator: has prepared `batches`, so that each process sees its share of them. Samples that fill up the
            last batches are left out again.
        description, progress: of the progress bar, which the first process shows.
    """
    logits, labels, unreadable = [], [], {}
    hidden = not progress or (accelerator is not None and not accelerator.is_main_process)
    for batch in tqdm(batches, desc=description, unit=" batches", leave=False, disable=hidden):
        unreadable.update(batch.get("skipped", ()))
        pixel_values = normalize(batch["pixel_values"].to(model.device))
        found = [_score_views(model, pixel_values, text_embeds)]
        if batch.get("labels") is not None:
            found.append(batch["labels"].to(model.device))
        if accelerator is not None:
            found = [accelerator.gather_for_metrics(tensor) for tensor in found]
        logits.append(found[0].cpu())
        labels += [tensor.cpu() for tensor in found[1:]]
    if not logits:
        raise ValueError("There are no clips to run the model on.")
    if accelerator is not None:
        unreadable = {video: reason for part in gather_object([unreadable]) for video, reason in part.items()}
    _check_finite(torch.cat(logits), model, description)
    if unreadable:
        examples = "; ".join(f"{video}: {reason}" for video, reason in list(unreadable.items())[:5])
        logger.warning(f"{description}: {len(unreadable)} videos could not be read and are not counted. {examples}")
    return Predictions(torch.cat(logits), torch.cat(labels) if labels else None, unreadable)


def _check_finite(logits: torch.Tensor, model: VideoTextModel, description: str) -> None:
    """Metrics of NaN look like any others."""
    bad = int((~logits.isfinite()).any(dim=1).sum())
    if bad:
        name = getattr(model.model, "name_or_path", "") or type(model.model).__name__
        raise ValueError(
            f"{description}: {name} gives scores that are not finite numbers for {bad} of {len(logits)} videos: its "
            f"weights are damaged, or too large for its precision, {model.dtype}."
        )


def _score_views(model: VideoTextModel, pixel_values: torch.Tensor, text_embeds: torch.Tensor | None) -> torch.Tensor:
    """`(B, C)` of clips `(B, T, 3, H, W)`, or of their views `(B, V, T, 3, H, W)`, averaged."""
    if pixel_values.ndim != 6:
        return model.score(pixel_values, text_embeds).float().contiguous()
    logits = model.score(pixel_values.flatten(0, 1), text_embeds).float()
    return average_views(logits.unflatten(0, pixel_values.shape[:2]))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """`model.eval()` for a while; a model in training goes back to it."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
