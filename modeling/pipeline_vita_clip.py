"""The pipeline `zero-shot-video-classification`: names for what happens in videos, from labels given at the call."""

import os
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel
from transformers.pipelines.base import ChunkPipeline
from transformers.video_utils import VideoMetadata

from .configuration_vita_clip import check_label_names
from .labels_vita_clip import check_templates, embed_labels, templates_of
from .modeling_vita_clip import average_views
from .remote_code_vita_clip import CLASSES, name_code
from .video_processing_vita_clip import as_video_batch, is_frame
from .video_reading_vita_clip import VideoReader, end_of_last_frame, frames_shown, is_video_source

# Sums of seconds are rounded: what differs by less than this, or by a quarter of a frame or window, is the same time.
_SMALLEST_TIME = 1e-3
FUNCTIONS_TO_APPLY = ("softmax", "sigmoid", "none")


class ZeroShotVideoClassificationPipeline(ChunkPipeline):
    """
    Ranks labels for videos with a [`VitaClipModel`] and its [`VitaClipProcessor`].

    ```python
    >>> from transformers import pipeline
    >>> classifier = pipeline("zero-shot-video-classification", model="user/vita-clip-adapter", trust_remote_code=True)
    >>> classifier("clip.mp4", candidate_labels=["juggling", "playing chess"])
    [{"label": "juggling", "score": 0.97}, {"label": "playing chess", "score": 0.03}]
    ```

    Text is encoded once for all videos of a call. Labels that are given to the constructor are encoded there, once for
    all calls: see [`hold_labels`]. The model's own classes are encoded at the first call that asks for them; from then
    on the model holds them, by the rules of [`VitaClipModel.hold_class_features`].
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(
        self,
        model: PreTrainedModel,
        *args: Any,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | Sequence[str] | None = None,
        **kwargs: Any,
    ):
        if model.config.model_type not in CLASSES:
            raise ValueError(
                f"This pipeline runs models of the types {', '.join(map(repr, CLASSES))}; {type(model).__name__} is "
                f"of the type {model.config.model_type!r}."
            )
        self._labels = _labels_of(candidate_labels)
        self._templates = _checked_templates(
            templates_of(model) if hypothesis_template is None else hypothesis_template
        )
        super().__init__(model, *args, candidate_labels=self._labels, **kwargs)
        if self.processor is None:
            raise ValueError("The pipeline needs the model's processor: give the argument processor=...")
        if getattr(model.config, "custom_pipelines", None):
            # transformers put classes in the place of their names, and no configuration with classes can be written.
            name_code(model.config)
        self.hold_labels()

    def hold_labels(self) -> None:
        """
        Encodes the labels that the constructor was given, for all calls that use them. After a change of the model's
        text tower call this method again; while layers of peft are part of it, each call encodes the labels anew.
        """
        self._held_embeds: torch.Tensor | None = None
        if self._labels is not None:
            self._held_embeds = self._embed_texts(self._labels, self._templates)

    def _embed_texts(self, labels: tuple[str, ...] | None, templates: tuple[str, ...]) -> torch.Tensor:
        """`(C, D')`; without labels of the model's own classes."""
        if labels is not None:
            held = (labels, templates) == (self._labels, self._templates) and not self.model.has_peft_in_text()
            if held and self._held_embeds is not None:
                return self._held_embeds
            return embed_labels(self.model, self.tokenizer, labels, templates)
        if self.model.held_class_features() is None and not self.model.training:
            self.model.hold_class_features()
        with torch.no_grad():
            return self.model.get_class_features().pooler_output

    def __call__(
        self,
        videos: Any,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Args:
            videos: one video or several. A video is a path, an http(s) URL, a file's bytes, a binary file object, an
                array of frames `(T, H, W, 3)` or `(T, 3, H, W)`, or a list of frames (PIL images or arrays). Several
                are a list or tuple of these, an array of 5 dimensions, a `Dataset` or a generator; of the last two,
                results come one by one as they are asked for.
            candidate_labels: names of what might be seen; underscores are read as spaces. Without them: the classes
                that the model was trained on, by its learned contexts.
            hypothesis_template (`str` or list of them, *optional*): the text around a candidate label; the embeddings
                of several are averaged. By default those of zero-shot evaluation, of Efficient-Prompt the name alone.
            top_k (`int`, *optional*): how many labels to return; all by default.
            function_to_apply (`str`, defaults to `"softmax"`): from logits to scores: `"softmax"`, over the labels;
                `"sigmoid"`, of each label on its own, which is close to 1 for all cosines that CLIP gives; `"none"`.
                Windows and views are averaged after a softmax in any case.
            window_seconds (`float`, *optional*): classify windows of this length each on its own; for long videos.
                The frames of a window are those that are on the screen in it, by each frame's own time.
            stride_seconds (`float`, defaults to `window_seconds`): from the start of one window to the next. The last
                window ends with the video; the only one of a video that is shorter than a window is the whole video.
            max_windows (`int`, *optional*): refuse a video that has more windows.
            average_windows (`bool`, defaults to `False`): return the mean of the windows' scores, in place of each
                window's.
            fps (`float`, *optional*): for windows: frames per second of frames in memory, or a constant rate in place
                of a file's own times.
            num_frames (`int`, *optional*): frames of a clip; by default the processor's, as all that follows.
            frame_sampling_rate (`int`, *optional*): take frames that are this far apart, from the middle of the video:
                `sampling="strided"` with this `frame_stride`, by the name that transformers' pipelines have for it.
            videos_kwargs (`dict`, *optional*): any settings of the video processor for this call, such as `sampling`,
                `num_temporal_views`.
            allow_private (`bool`, *optional*): whether URLs may lead to this machine and to private networks; by
                default the processor's, which is yes. Whoever serves others says no, here or to the constructor.
            batch_size (`int`, defaults to 1): videos, or windows, that pass the model at once.

        Returns:
            For a video `[{"label": str, "score": float}, ...]`, best first; of a softmax, the scores of all labels sum
            to 1. With
            windows `[{"start": seconds, "end": seconds, "labels": [{"label", "score"}, ...]}, ...]`. For several
            videos a list of these.

        Raises:
            ValueError: labels are empty or repeated, a template has no `{}` or no labels, a window has no length, a
                video in memory is not one, or the model gives scores that are not finite.
            VideoReadError: a file cannot be read.
        """
        labels = self._labels if candidate_labels is None else _labels_of(candidate_labels)
        if labels is None and hypothesis_template is not None:
            raise ValueError("hypothesis_template needs candidate_labels; the model's classes have learned contexts.")
        templates = self._templates if hypothesis_template is None else _checked_templates(hypothesis_template)
        kwargs |= {"candidate_labels": labels, "text_embeds": self._embed_texts(labels, templates)}
        if isinstance(videos, (Dataset, GeneratorType)):
            return super().__call__(videos, **kwargs)
        batch = as_video_batch(videos)
        results = super().__call__(batch, **kwargs)
        return results[0] if batch[0] is videos else results

    def _sanitize_parameters(
        self,
        candidate_labels: tuple[str, ...] | None = None,
        text_embeds: torch.Tensor | None = None,
        top_k: int | None = None,
        window_seconds: float | None = None,
        stride_seconds: float | None = None,
        average_windows: bool | None = None,
        fps: float | None = None,
        num_frames: int | None = None,
        frame_sampling_rate: int | None = None,
        videos_kwargs: dict[str, Any] | None = None,
        allow_private: bool | None = None,
        max_windows: int | None = None,
        function_to_apply: str | None = None,
    ) -> tuple[dict, dict, dict]:
        if function_to_apply is not None and function_to_apply not in FUNCTIONS_TO_APPLY:
            names = ", ".join(map(repr, FUNCTIONS_TO_APPLY))
            raise ValueError(f"function_to_apply must be one of {names}, found {function_to_apply!r}.")
        if top_k is not None and not (isinstance(top_k, Integral) and top_k >= 1):
            raise ValueError(f"top_k must be at least 1, found {top_k!r}.")
        seconds = {"window_seconds": window_seconds, "stride_seconds": stride_seconds, "fps": fps}
        for name, value in seconds.items():
            if value is not None and not (isinstance(value, Real) and value > 0):
                raise ValueError(f"{name} must be more than 0, found {value!r}.")
        frames = {"num_frames": num_frames, "frame_sampling_rate": frame_sampling_rate}
        reading = {**seconds, **frames, "videos_kwargs": videos_kwargs, "max_windows": max_windows}
        reading["allow_private"] = allow_private
        ranking: dict[str, Any] = {"candidate_labels": candidate_labels, "average_windows": average_windows}
        ranking |= {"top_k": top_k, "function_to_apply": function_to_apply}
        return _given(reading), _given({"text_embeds": text_embeds}), _given(ranking)

    # ---- one step each ----

    def preprocess(
        self,
        video: Any,
        window_seconds: float | None = None,
        stride_seconds: float | None = None,
        fps: float | None = None,
        allow_private: bool | None = None,
        max_windows: int | None = None,
        **reading: Any,
    ) -> Iterator[dict[str, Any]]:
        """A video to clips of shape `(1, T, 3, H, W)` or `(1, V, T, 3, H, W)`, one or, with `span`, one per window."""
        settings = _video_settings(**reading)
        if allow_private is not None:
            settings["allow_private"] = allow_private
        if window_seconds is None:
            for name, value in (("stride_seconds", stride_seconds), ("fps", fps)):
                if value is not None:
                    raise ValueError(f"{name}={value} needs window_seconds, the length of a window.")
            yield {"clips": [self._to_clips([video], settings)], "span": None, "is_last": True}
            return
        allow_private = settings.get("allow_private", self.processor.video_processor.allow_private)
        frames = _TimedFrames(video, fps, allow_private)
        # No more windows than frames: none is shorter than a frame's mean time, and none starts sooner after another.
        length, stride = (max(value, frames.mean_time) for value in (window_seconds, stride_seconds or window_seconds))
        windows = window_bounds(frames.duration, length, stride)
        if max_windows is not None and len(windows) > max_windows:
            raise ValueError(
                f"The video has {len(windows)} windows of {length:g} s, one every {stride:g} s, more than the "
                f"{max_windows} that are allowed; make window_seconds or stride_seconds larger."
            )
        for number, (start, end) in enumerate(windows):
            yield {
                "clips": [self._read_window(frames, *frames.between(start, end), settings)],
                "span": (round(start, 3), round(end, 3)),
                "is_last": number == len(windows) - 1,
            }

    def _to_clips(self, videos: list[Any], settings: dict[str, Any]) -> torch.Tensor:
        return self.processor.video_processor(videos, return_tensors="pt", **settings)["pixel_values"].to(self.dtype)

    def _read_window(self, frames: "_TimedFrames", start: int, stop: int, settings: dict[str, Any]) -> torch.Tensor:
        """The clips of one window, `(1, T, 3, H, W)` or `(1, V, T, 3, H, W)`: only the frames that they need."""
        processor = self.processor.video_processor
        indices, num_clips = np.arange(stop - start), 1
        if settings.get("do_sample_frames", processor.do_sample_frames):
            num_clips = settings.get("num_temporal_views") or processor.num_temporal_views
            indices = processor.sample_frames(VideoMetadata(total_num_frames=stop - start), **settings)
        clips = frames.read((start + indices).reshape(num_clips, -1).tolist())
        pixel_values = self._to_clips(clips, {**settings, "do_sample_frames": False, "num_temporal_views": 1})
        if num_clips == 1:
            return pixel_values
        # Clips came back as the batch; view t * num_spatial_views + s is crop s of clip t.
        views = pixel_values.flatten(0, 1) if pixel_values.ndim == 6 else pixel_values
        return views[None]

    def _forward(self, model_inputs: dict[str, Any], text_embeds: torch.Tensor | None = None) -> dict[str, Any]:
        # In a list clips pass transformers' collation as they are. A batch is a list of lists of one clip each.
        clips = model_inputs.pop("clips")
        clips = [clip for (clip,) in clips] if isinstance(clips[0], list) else clips
        if len({clip.shape for clip in clips}) == 1:
            clips = [torch.cat(clips)]
        outputs = [self.model(pixel_values=clip, text_embeds=text_embeds) for clip in clips]
        logits = [output["logits" if "logits" in output else "logits_per_video"] for output in outputs]
        return {"logits": torch.cat(logits), **model_inputs}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        candidate_labels: tuple[str, ...] | None = None,
        top_k: int | None = None,
        average_windows: bool = False,
        function_to_apply: str = "softmax",
    ) -> list[dict[str, Any]]:
        """The result for a video, from the outputs of its windows or from its only output."""
        labels = self.model.config.label_names if candidate_labels is None else candidate_labels
        logits = torch.cat([output["logits"] for output in model_outputs]).float()
        if not logits.isfinite().all():
            raise ValueError(
                f"{self.model.name_or_path or type(self.model).__name__} gives scores that are not finite numbers: "
                f"its weights are damaged, or too large for its precision, {self.dtype}."
            )
        if average_windows or model_outputs[0]["span"] is None:
            # One output keeps its logits: the average of views is of their softmax.
            logits = average_views(logits[None]) if len(logits) > 1 else logits
            return rank_labels(_scores(function_to_apply, logits)[0], labels, top_k)
        return [
            {"start": output["span"][0], "end": output["span"][1], "labels": rank_labels(window, labels, top_k)}
            for output, window in zip(model_outputs, _scores(function_to_apply, logits), strict=True)
        ]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Writes model and processor, from which `pipeline(model=save_directory)` makes this pipeline again."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


class _TimedFrames:
    """
    A video whose frames are found by time and read a window at a time.

    Args:
        video: a source of [`VideoReader`], or frames in memory.
        fps: of frames in memory, or a constant rate in place of a file's own times.
        allow_private: as in [`VideoReader`].

    Attributes:
        duration (`float`): seconds, of which the last frame takes as many as the one before it.
        mean_time (`float`): seconds for which a frame is shown, on average.

    Raises:
        ValueError: neither `fps` nor the file says when frames are shown.
        VideoReadError: the file cannot be read.
    """

    def __init__(self, video: Any, fps: float | None, allow_private: bool = True):
        reader = VideoReader(video, allow_private=allow_private) if is_video_source(video) else None
        self._reader: Any = reader
        self._frames = [video] if is_frame(video) else video
        total = len(self._frames) if reader is None else reader.num_frames
        if total == 0:
            raise ValueError("The video has no frames; expected at least 1.")
        if fps is not None:
            times = np.arange(total) / fps
        elif reader is not None and reader.frame_times is not None:
            times, fps = reader.frame_times, reader.fps
        else:
            name = "Frames in memory do" if reader is None else f"{reader.name} does"
            raise ValueError(f"{name} not say how many frames make a second, which windows need: give fps=...")
        self._times, self.duration = times, end_of_last_frame(times, fps)
        self.mean_time = self.duration / total

    def between(self, start: float, end: float) -> tuple[int, int]:
        """The frames that are on the screen from second `start` to `end`: the first, and the one after the last."""
        return frames_shown(self._times, start, end)

    def read(self, clips: list[list[int]]) -> list[Any]:
        """The frames with these indices, for each clip."""
        if self._reader is not None:
            # In one call: the clips of a window interleave, and going back in a file is slow.
            frames = self._reader.read_frames([index for clip in clips for index in clip])
            return list(frames.unflatten(0, (len(clips), -1)))
        if isinstance(self._frames, (list, tuple)):
            return [[self._frames[index] for index in clip] for clip in clips]
        return [self._frames[clip] for clip in clips]


def window_bounds(duration: float, window_seconds: float, stride_seconds: float) -> list[tuple[float, float]]:
    """
    The windows of a video as `(start, end)` in seconds, all of the same length. One starts every `stride_seconds`; the
    last one ends with the video. They cover it if `stride_seconds` is no longer than `window_seconds`. A video that is
    shorter than a window is one window.
    """
    last, slack = duration - window_seconds, min(_SMALLEST_TIME, stride_seconds / 4, window_seconds / 4)
    if last < slack:
        return [(0.0, duration)]
    starts = [number * stride_seconds for number in range(int((last + slack) / stride_seconds) + 1)]
    if last - starts[-1] > slack:
        starts.append(last)
    return [(start, start + window_seconds) for start in starts]


def rank_labels(scores: torch.Tensor, labels: Sequence[str], top_k: int | None = None) -> list[dict[str, Any]]:
    """Scores `(C,)` as the Hub's `video-classification` gives them, best first: `[{"label", "score"}, ...]`."""
    best = scores.topk(min(top_k or len(labels), len(labels)))
    ranked = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [{"label": labels[index], "score": score} for score, index in ranked]


def _scores(function: str, logits: torch.Tensor) -> torch.Tensor:
    if function == "softmax":
        return logits.softmax(dim=-1)
    return logits.sigmoid() if function == "sigmoid" else logits


def _labels_of(candidate_labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Checked, and such that two sets can be compared."""
    if candidate_labels is None:
        return None
    if isinstance(candidate_labels, str):
        raise ValueError(f"candidate_labels must be a list of names, found the text {candidate_labels!r}.")
    check_label_names(list(candidate_labels))
    return tuple(candidate_labels)


def _checked_templates(hypothesis_template: str | Sequence[str]) -> tuple[str, ...]:
    """Likewise, of one template or several."""
    templates = (hypothesis_template,) if isinstance(hypothesis_template, str) else tuple(hypothesis_template)
    check_templates(templates)
    return templates


def _video_settings(
    num_frames: int | None = None, frame_sampling_rate: int | None = None, videos_kwargs: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The video processor's settings from the pipeline's arguments, of which none may contradict another."""
    settings: dict[str, Any] = {} if num_frames is None else {"num_frames": num_frames}
    if frame_sampling_rate is not None:
        settings |= {"sampling": "strided", "frame_stride": frame_sampling_rate}
    given = videos_kwargs or {}
    for name, value in settings.items():
        if given.get(name, value) != value:
            raise ValueError(f"videos_kwargs has {name}={given[name]!r}, and beside it stands {value!r}.")
    return given | settings


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Without those that the caller left out: they keep the values that the constructor was given, or the defaults."""
    return {name: value for name, value in parameters.items() if value is not None}


__all__ = ["ZeroShotVideoClassificationPipeline"]
