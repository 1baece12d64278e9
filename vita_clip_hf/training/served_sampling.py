"""What was trained is what is served: the saved processor takes frames as training and evaluation did."""

import logging
from typing import Any

from ..data import StreamedVideoClips, VideoClips, VideoViews
from ..modeling.video_processing_vita_clip import FrameSampling, VitaClipVideoProcessor

logger = logging.getLogger(__name__)


def serve_as_trained(processor: Any, train_dataset: Any, eval_dataset: Any) -> None:
    """
    Sets frames, sampling, stride and views of the video processor that is saved with a model: those of the evaluation,
    whose figures it then gives; without one those of the training clips. A warning tells of every change, and of an
    evaluation that samples otherwise than the training.

    Args:
        processor: a [`VitaClipProcessor`] or [`VitaClipVideoProcessor`]; others are left alone.
        train_dataset, eval_dataset: clips from files; others say nothing about sampling.
    """
    video_processor = getattr(processor, "video_processor", processor)
    if not isinstance(video_processor, VitaClipVideoProcessor):
        return
    is_read = isinstance(train_dataset, (VideoClips, StreamedVideoClips))
    trained = train_dataset.sampling.at_test_time() if is_read else None
    own = {name: getattr(video_processor, name) for name in ("num_frames", "sampling", "frame_stride")}
    served: dict[str, Any] = {}
    if isinstance(eval_dataset, VideoViews):
        evaluated = {**own, **eval_dataset.sampling}
        views = {"num_temporal_views": eval_dataset.temporal_views, "num_spatial_views": eval_dataset.spatial_views}
        served = {**evaluated, **views}
        if trained is not None and _frames(FrameSampling(**evaluated)) != _frames(trained):
            logger.warning(
                f"Clips are trained with {_describe(trained)}, and evaluated and served with "
                f"{_describe(FrameSampling(**evaluated))}."
            )
    elif trained is not None:
        served = {name: getattr(trained, name) for name in own}
    changed = {name: value for name, value in served.items() if getattr(video_processor, name) != value}
    for name, value in changed.items():
        setattr(video_processor, name, value)
    if changed:
        settings = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        logger.warning(f"The processor is saved with {settings}, as clips are read here.")


def warn_of_other_clips(video_processor: VitaClipVideoProcessor, checkpoint: str) -> None:
    """A warning if a training goes on with other clips than those that its checkpoint was saved for."""
    before = VitaClipVideoProcessor.from_pretrained(checkpoint)
    stored, own = (
        FrameSampling(taker.num_frames, taker.sampling, taker.frame_stride) for taker in (before, video_processor)
    )
    if _frames(stored) != _frames(own):
        logger.warning(
            f"{checkpoint} was trained on clips of {_describe(stored)}; from here on they are {_describe(own)}."
        )


def _frames(sampling: FrameSampling) -> tuple[Any, ...]:
    """What tells two samplings apart: the stride only where there is one."""
    return sampling.num_frames, sampling.sampling, sampling.sampling == "strided" and sampling.frame_stride


def _describe(sampling: FrameSampling) -> str:
    stride = f", {sampling.frame_stride} apart" if sampling.sampling == "strided" else ""
    return f"{sampling.num_frames} frames {sampling.sampling}{stride}"
