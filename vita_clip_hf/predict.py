"""Naming what happens in video files: a checkpoint, its processor, and the zero-shot pipeline around them."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .modeling.modeling_vita_clip import VitaClipModel
    from .modeling.processing_vita_clip import VitaClipProcessor
    from .modeling.video_reading_vita_clip import VideoSource

Predictor = Callable[["VideoSource"], list[dict[str, Any]]]


def load_predictor(
    model: str | os.PathLike,
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: "str | torch.device | None" = None,
) -> Predictor:
    """
    Loads a checkpoint once, for any number of videos.

    Args:
        model: an adapter, a full checkpoint, or a plain CLIP (which is run without prompts and needs `labels`): a
            folder or a Hub id.
        labels: classes to choose from; by default those of the model.
        templates: one or several texts around a label, each with one `{}`; of several, the embeddings are averaged.
        top_k: how many labels to return; `None` for all.
        device: by default the first accelerator, else the CPU.

    Returns:
        A function from a video (path, URL, bytes, file object) to `[{"label", "score"}, ...]`, best first. It raises
        `VideoReadError`, an `OSError`, for what cannot be read.

    Raises:
        OSError: no such checkpoint, or it has no processor.
        ValueError: bad labels or templates, or a model without classes and no `labels`.
    """
    from .modeling.pipeline_vita_clip import ZeroShotVideoClassificationPipeline

    name = _existing(model)
    loaded, has_labels = _load_model(name)
    if labels is None and not has_labels:
        raise ValueError(f"{model} has no classes of its own: name the labels to choose from.")
    options: dict[str, Any] = {"candidate_labels": labels, "hypothesis_template": templates, "top_k": top_k}
    pipeline = ZeroShotVideoClassificationPipeline(
        model=loaded, processor=_load_processor(name), device=device, **options
    )
    return pipeline.__call__


def predict_file(
    model: str | os.PathLike,
    video: "VideoSource",
    labels: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    top_k: int | None = 5,
    device: "str | torch.device | None" = None,
) -> list[dict[str, Any]]:
    """Loads a checkpoint and ranks labels for one video; see [`load_predictor`], which this calls."""
    return load_predictor(model, labels, templates, top_k, device)(video)


def _existing(model: str | os.PathLike) -> str:
    """The folder or Hub id; a path that is not there is told apart from a Hub id at once."""
    from .modeling.remote_code_vita_clip import locate_base

    name = locate_base(model)
    is_folder = os.path.isdir(name)
    if not is_folder and (os.path.exists(name) or os.path.isabs(name) or name.startswith((".", "~"))):
        raise OSError(f"{name}: no such folder; expected one that a model was saved into, or a Hub id.")
    if is_folder and not os.path.isfile(os.path.join(name, "config.json")):
        raise OSError(f"{name}: has no config.json; expected a folder that a model was saved into.")
    return name


def _load_model(name: str) -> "tuple[VitaClipModel, bool]":
    """The model in evaluation mode, and whether it has classes of its own."""
    from transformers import PreTrainedConfig

    from .modeling.configuration_vita_clip import NO_PROMPTS, VitaClipConfig
    from .modeling.modeling_vita_clip import VitaClipModel

    config_dict, _ = PreTrainedConfig.get_config_dict(name)
    if config_dict.get("model_type") != VitaClipConfig.model_type:
        # The prompts of a plain CLIP would be random; without them it is CLIP, averaged over the frames.
        return VitaClipModel.from_pretrained(name, **NO_PROMPTS).eval(), False
    model = VitaClipModel.from_pretrained(name).eval()
    return model, model.config.label_token_ids is not None


def _load_processor(name: str) -> "VitaClipProcessor":
    from .modeling.processing_vita_clip import VitaClipProcessor

    try:
        return VitaClipProcessor.from_pretrained(name)
    except OSError as error:
        raise OSError(
            f"{name} has a model but no processor; write one into it by processor.save_pretrained(...)."
        ) from error


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "predict",
        help="name the action in video files",
        description="Ranks the model's own classes for each video, or the labels that you name (zero-shot).",
        epilog='example: vita-clip predict --model demo_output/adapter clip.mp4 --labels "moving left" "moving right"',
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="file or URL")
    parser.add_argument("--model", required=True, help="adapter or full checkpoint: a folder or a Hub id")
    parser.add_argument("--labels", nargs="+", metavar="LABEL", help="classes to choose from (default: its own)")
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help='around a label, such as "a video of {}."; may repeat',
    )
    parser.add_argument("--top-k", type=int, default=5, help="classes to print (default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    predict = load_predictor(options.model, labels=options.labels, templates=options.template, top_k=options.top_k)
    failures = []
    for video in options.videos:
        if len(options.videos) > 1:
            print(video)
        try:
            for entry in predict(video):
                print(f"{entry['score']:7.2%}  {entry['label']}")
        except (OSError, ValueError) as error:
            if len(options.videos) == 1:
                raise
            print(f"vita-clip predict: {error}", file=sys.stderr)
            failures.append(video)
    if failures:
        raise OSError(f"{len(failures)} of {len(options.videos)} videos could not be read: {', '.join(failures)}")


__all__ = ["add_parser", "load_predictor", "predict_file"]
