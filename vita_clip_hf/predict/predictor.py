"""A checkpoint with its processor, ready to rank labels for any number of videos."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .results import Prediction

if TYPE_CHECKING:
    import torch

    from ..modeling.modeling_vita_clip import VitaClipModel
    from ..modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline
    from ..modeling.processing_vita_clip import VitaClipProcessor
    from ..modeling.video_reading_vita_clip import VideoSource


class Predictor:
    """
    A function from a video (path, URL, bytes, file object) to `[{"label", "score"}, ...]`, best first. It raises
    `VideoReadError`, an `OSError`, for what cannot be read. [`load_predictor`] makes one.

    Args:
        pipeline: with the model, its processor and all settings.
        labels: classes to choose from; `None` for the model's own.
        templates: the texts around a label; `None` for the model's own classes, which have learned contexts.
    """

    def __init__(
        self,
        pipeline: "ZeroShotVideoClassificationPipeline",
        labels: tuple[str, ...] | None = None,
        templates: tuple[str, ...] | None = None,
    ):
        self._pipeline, self.labels, self.templates = pipeline, labels, templates

    def __call__(self, video: "VideoSource") -> list[dict[str, Any]]:
        return self._pipeline(video)

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
                rankings = self._pipeline(batch, batch_size=batch_size)
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
        model: an adapter, a full checkpoint, or a plain CLIP (which is run without prompts and needs `labels`): a
            folder or a Hub id.
        labels: classes to choose from; by default those of the model.
        templates: one or several texts around a label, each with one `{}`; of several, the embeddings are averaged. By
            default `VIDEO_TEMPLATES`, those of zero-shot evaluation.
        top_k: how many labels to return; `None` for all.
        device: by default the first accelerator, else the CPU.
        views: clips of each video at different times, and crops of each clip; by default the processor's.

    Raises:
        OSError: no such checkpoint, or it has no processor.
        ValueError: bad labels or templates, templates without labels, a model without classes and no `labels`, or a
            device that is not there.
    """
    from ..modeling.labels_vita_clip import VIDEO_TEMPLATES
    from ..modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline

    if templates is not None and labels is None:
        raise ValueError("A template needs labels to stand around; the model's own classes have learned contexts.")
    device = _available(device)
    name = _existing(model)
    loaded, has_labels = _load_model(name)
    if labels is None and not has_labels:
        raise ValueError(f"{model} has no classes of its own: name the labels to choose from.")
    if labels is not None and templates is None:
        templates = VIDEO_TEMPLATES
    options: dict[str, Any] = {"candidate_labels": labels, "hypothesis_template": templates, "top_k": top_k}
    if views is not None:
        options["videos_kwargs"] = dict(zip(("num_temporal_views", "num_spatial_views"), views, strict=True))
    pipeline = ZeroShotVideoClassificationPipeline(
        model=loaded, processor=_load_processor(name), device=device, **options
    )
    texts = (templates,) if isinstance(templates, str) else templates
    return Predictor(pipeline, None if labels is None else tuple(labels), None if texts is None else tuple(texts))


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


def _available(device: "str | torch.device | None") -> "torch.device | None":
    """The device, if this machine has it."""
    import torch

    if device is None:
        return None
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no device; expected one such as 'cpu', 'cuda' or 'cuda:1'.") from error
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    num_devices = torch.accelerator.device_count() if accelerator is not None else 0
    known = ["cpu", *(f"{accelerator.type}:{index}" for index in range(num_devices) if accelerator is not None)]
    if f"{found.type}:{found.index or 0}" not in known and found.type != "cpu":
        raise ValueError(f"This machine has no device {device}; it has {', '.join(known)}.")
    return found


def _existing(model: str | os.PathLike) -> str:
    """The folder or Hub id; a path that is not there is told apart from a Hub id at once."""
    from ..modeling.remote_code_vita_clip import locate_base

    name = locate_base(model)
    is_folder = os.path.isdir(name)
    if not is_folder and (os.path.exists(name) or os.path.isabs(name) or name.startswith((".", "~"))):
        raise OSError(f"{name}: no such folder; expected one that a model was saved into, or a Hub id.")
    if is_folder and not os.path.isfile(os.path.join(name, "config.json")):
        raise OSError(f"{name}: has no config.json; expected a folder that a model was saved into.")
    return name


def _load_model(name: str) -> "tuple[VitaClipModel, bool]":
    """The model in evaluation mode, and whether it has classes of its own."""
    from ..modeling.configuration_vita_clip import NO_PROMPTS, VitaClipConfig, read_config_fields
    from ..modeling.modeling_vita_clip import VitaClipModel

    if read_config_fields(name).get("model_type") != VitaClipConfig.model_type:
        # The prompts of a plain CLIP would be random; without them it is CLIP, averaged over the frames.
        return VitaClipModel.from_pretrained(name, **NO_PROMPTS).eval(), False
    model = VitaClipModel.from_pretrained(name).eval()
    return model, model.config.label_token_ids is not None


def _load_processor(name: str) -> "VitaClipProcessor":
    from ..modeling.processing_vita_clip import VitaClipProcessor

    try:
        return VitaClipProcessor.from_pretrained(name)
    except OSError as error:
        raise OSError(
            f"{name} has a model but no processor; write one into it by processor.save_pretrained(...)."
        ) from error


__all__ = ["Predictor", "load_predictor", "predict_file"]
