"""A checkpoint with its processor, ready to rank labels for any number of videos."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .results import Prediction

if TYPE_CHECKING:
    import torch

    from ..modeling.processing_vita_clip import VitaClipProcessor
    from ..modeling.video_reading_vita_clip import VideoSource
    from ..models import VideoTextModel


class Predictor:
    """
    A function from a video (path, URL, bytes, file object) to `[{"label", "score"}, ...]`, best first. It raises
    `VideoReadError`, an `OSError`, for what cannot be read. [`load_predictor`] makes one.

    Args:
        model: in evaluation mode, on any device.
        processor: of the model.
        labels: classes to choose from; by default the model's own.
        templates: the texts around a label; by default those of the model's kind. Its own classes have none.
        top_k: how many labels to return; `None` for all.
        settings: of the video processor, over its own.

    Raises:
        ValueError: bad labels or templates, templates without labels, or a model without classes and no `labels`.
    """

    def __init__(
        self,
        model: "VideoTextModel",
        processor: "VitaClipProcessor",
        labels: Sequence[str] | None = None,
        templates: str | Sequence[str] | None = None,
        top_k: int | None = 5,
        **settings: Any,
    ):
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, found {top_k!r}.")
        if templates is not None and labels is None:
            raise ValueError("A template needs labels to stand around; the model's own classes have none.")
        self.model = model
        self.templates: tuple[str, ...] | None = None
        if labels is None:
            self._text_embeds = model.encode_classes()
            self.labels = tuple(model.model.config.label_names)
        else:
            templates = model.label_templates if templates is None else templates
            self.templates = (templates,) if isinstance(templates, str) else tuple(templates)
            self.labels = tuple(labels)
            self._text_embeds = model.encode_labels(self.labels, self.templates)
        self._video_processor, self._settings, self._top_k = processor.video_processor, settings, top_k

    def __call__(self, video: "VideoSource") -> list[dict[str, Any]]:
        (ranking,) = self._rank([video])
        return ranking

    def _rank(self, videos: "Sequence[VideoSource]") -> list[list[dict[str, Any]]]:
        from ..evaluation.predict import predict_batches
        from ..modeling.pipeline_vita_clip import rank_labels

        features = self._video_processor(videos, return_tensors="pt", **self._settings)
        found = predict_batches(
            self.model,
            [features],
            self._text_embeds,
            normalize=lambda pixel_values: pixel_values.to(self.model.dtype),
            description="prediction",
            progress=False,
        )
        return [rank_labels(scores, self.labels, self._top_k) for scores in found.logits.softmax(dim=-1)]

    def predict_files(self, videos: Sequence[str], batch_size: int = 1) -> Iterator[Prediction]:
        """
        A [`Prediction`] for each file or URL, in their order; one that cannot be read has its `error`.

        Args:
            videos: paths and URLs.
            batch_size: videos that pass the model at once.
        """
        for start in range(0, len(videos), batch_size):
            batch = list(videos[start : start + batch_size])
            try:
                rankings = self._rank(batch)
            except (OSError, ValueError):
                # One of them cannot be read; alone, each tells whether it is the one.
                yield from map(self._predict_file, batch)
            else:
                yield from map(Prediction, batch, rankings)

    def _predict_file(self, video: str) -> Prediction:
        try:
            return Prediction(video, self(video))
        except (OSError, ValueError) as error:
            reason = str(error)
            return Prediction(video, [], reason if video in reason else f"{video}: {reason}")


def load_predictor(
    model: str | os.PathLike,
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: "str | torch.device | None" = None,
    views: tuple[int, int] | None = None,
) -> Predictor:
    """
    Loads a checkpoint once, for any number of videos.

    Args:
        model: an adapter or full checkpoint of Vita-CLIP or Efficient-Prompt, a CLIP (run frame by frame), or an
            X-CLIP: a folder or a Hub id. The last two need `labels`.
        labels: classes to choose from; by default those of the model.
        templates: one or several texts around a label, each with one `{}`; of several, the embeddings are averaged. By
            default those of zero-shot evaluation; the name alone for Efficient-Prompt and X-CLIP.
        top_k: how many labels to return; `None` for all.
        device: by default the first accelerator, else the CPU.
        views: clips of each video at different times, and crops of each clip; by default the processor's.

    Raises:
        OSError: no such checkpoint, or it has no processor.
        ValueError: bad labels or templates, templates without labels, a model without classes and no `labels`, or a
            device that is not there.
    """
    from ..models import load_model

    device = available_device(device)
    loaded, processor = load_model(model, device=device)
    settings = {} if views is None else dict(zip(("num_temporal_views", "num_spatial_views"), views, strict=True))
    return Predictor(loaded, processor, labels, templates, top_k, **settings)


def predict_file(
    model: str | os.PathLike,
    video: "VideoSource",
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: "str | torch.device | None" = None,
    views: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Loads a checkpoint and ranks labels for one video; see [`load_predictor`], which this calls."""
    return load_predictor(model, labels, templates, top_k, device, views)(video)


def available_device(device: "str | torch.device | None") -> "torch.device":
    """The device, if this machine has it; by default the first accelerator, else the CPU."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None:
        return accelerator or torch.device("cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device; expected one such as 'cpu', 'cuda' or 'cuda:1'.") from error
    num_devices = torch.accelerator.device_count() if accelerator is not None else 0
    known = ["cpu", *(f"{accelerator.type}:{index}" for index in range(num_devices) if accelerator is not None)]
    if f"{found.type}:{found.index or 0}" not in known and found.type != "cpu":
        raise ValueError(f"This machine has no device {device}; it has {', '.join(known)}.")
    return found


__all__ = ["Predictor", "available_device", "load_predictor", "predict_file"]
