"""From a video in any form to the frames a model sees: sampling, resizing, cropping into views, normalisation."""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import validate_typed_dict
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from transformers import BatchFeature, CLIPImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, ChannelDimension, PILImageResampling, SizeDict
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.utils import logging
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoInput, VideoMetadata, make_batched_metadata

from .configuration_vita_clip import check_small_files, errors_naming
from .remote_code_vita_clip import locate_base
from .video_reading_vita_clip import VideoReader, is_video_source

logger = logging.get_logger(__name__)

SAMPLINGS = ("uniform", "strided")


@dataclass(frozen=True)
class FrameSampling:
    """
    Which frames of a video make its clips.

    Args:
        num_frames: T, frames in a clip.
        sampling: "uniform" divides the video into T equal segments and takes the middle of each (TSN at test time);
            "strided" takes T frames that are `frame_stride` apart ("dense", as Vita-CLIP was trained).
        frame_stride: distance between the frames of a strided clip, in frames of the file.
        num_temporal_views: K, clips per video. Strided clips start at K equally spaced places, the first at the
            video's start and the last such that it ends with the video; a single one is centred. Uniform clips take
            the middles of the K equal parts of each segment.

    Raises:
        ValueError: a value makes no sense.
    """

    num_frames: int = 8
    sampling: str = "uniform"
    frame_stride: int = 16
    num_temporal_views: int = 1

    def __post_init__(self):
        for name in ("num_frames", "frame_stride", "num_temporal_views"):
            _check_count(name, getattr(self, name))
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {', '.join(map(repr, SAMPLINGS))}, found {self.sampling!r}")

    def indices(self, total_num_frames: int) -> np.ndarray:
        """
        Frame numbers for a video of that many frames, int64 of shape `(K, T)`.

        A video that is too short (strided: shorter than a clip's extent; uniform: fewer than T frames) is read from
        its start and its last frame repeats.
        """
        if total_num_frames < 1:
            raise ValueError(f"a video needs at least 1 frame to sample from, found {total_num_frames}")
        views = np.arange(self.num_temporal_views)[:, None]
        steps = np.arange(self.num_frames)[None, :]
        if self.sampling == "strided":
            free = max(total_num_frames - 1 - (self.num_frames - 1) * self.frame_stride, 0)
            starts = np.array([[free // 2]]) if len(views) == 1 else free * views // (len(views) - 1)
            indices = starts + steps * self.frame_stride
        elif total_num_frames < self.num_frames:
            indices = steps + 0 * views
        else:
            # Integer arithmetic: ((step + (view + 1/2) / K) / T) * total, rounded down.
            parts = 2 * self.num_frames * len(views)
            indices = (2 * (steps * len(views) + views) + 1) * total_num_frames // parts
        return np.minimum(indices, total_num_frames - 1).astype(np.int64)


class VitaClipVideoProcessorKwargs(VideosKwargs, total=False):  # type: ignore[call-arg]
    """
    Settings beyond those of every video processor.

    Attributes:
        sampling (`str`, *optional*, defaults to `"uniform"`):
            `"uniform"` or `"strided"`, see `FrameSampling`.
        frame_stride (`int`, *optional*, defaults to 16):
            Distance between the frames of a `"strided"` clip, in frames of the file.
        num_temporal_views (`int`, *optional*, defaults to 1):
            Number of clips taken from each video, at different times.
        num_spatial_views (`int`, *optional*, defaults to 1):
            Number of crops of each clip: 1 is the centre, more are equally spaced along the long side (3: both ends
            and the middle).
        allow_private (`bool`, *optional*, defaults to `True`):
            Whether URLs may lead to this machine and to private networks, see `VideoReader`. Whoever serves others
            says no. It is never read from a checkpoint's files, nor written into them.
    """

    sampling: str | None
    frame_stride: int | None
    num_temporal_views: int | None
    num_spatial_views: int | None
    allow_private: bool | None


# Names of other classes, and what the caller alone can choose.
NOT_STORED: tuple[str, ...] = ("image_processor_type", "feature_extractor_type", "processor_class")
NOT_STORED += ("device", "return_tensors", "allow_private")
COUNTS = ("num_frames", "num_temporal_views", "num_spatial_views")
LONGEST_EDGE, MOST_FRAMES = 2**13, 2**16  # pixels; frames, views and strides
MOST_PIXELS = 3 * 2**24  # of one video by stored settings, in all frames and views; 600 MB in float32


def _checked_settings(settings: dict[str, Any], taker: type["VitaClipVideoProcessor"]) -> dict[str, Any]:
    """Stored settings without `NOT_STORED`; raises an error for a type or a number that makes no sense."""
    settings = {key: value for key, value in settings.items() if key not in NOT_STORED}
    own = {key: settings[key] for key in taker.valid_kwargs.__annotations__ if settings.get(key) is not None}
    validate_typed_dict(taker.valid_kwargs, own)
    _checked_sampling({**vars(taker), **own})
    for key in ("image_mean", "image_std", "rescale_factor"):
        numbers = np.array(own.get(key, 1.0), dtype=np.float64)
        is_finite = np.isfinite(numbers).all() and numbers.size in (1, 3)
        if not is_finite or (key != "image_mean" and (numbers <= 0).any()):
            raise ValueError(f"{key} must be one finite number or three, found {own[key]!r:.100}")
    num_frames = math.prod(own.get(name, getattr(taker, name)) for name in COUNTS)
    for key in ("size", "crop_size"):
        value = own.get(key, getattr(taker, key))
        edges = [value] if isinstance(value, int) else value.values()
        if not all(type(edge) is int and 1 <= edge <= LONGEST_EDGE for edge in edges if edge is not None):
            raise ValueError(f"{key} must be of 1 to {LONGEST_EDGE} pixels, found {value!r:.100}")
        largest = max((edge for edge in edges if edge is not None), default=1)
        if num_frames * largest**2 > MOST_PIXELS:
            shape = f"{' x '.join(COUNTS)}={num_frames} and {key} of {largest} pixels"
            raise ValueError(f"{shape} make more than {MOST_PIXELS:,} pixels of one video; give more in the call")
    if not isinstance(settings.get("auto_map", {}), dict):
        raise ValueError(f"auto_map must be an object, found {settings['auto_map']!r:.100}")
    if own.get("resample") not in (None, *PILImageResampling):
        raise ValueError(f"resample must be one of {[*map(int, PILImageResampling)]}, found {own['resample']!r:.100}")
    return settings


class VitaClipVideoProcessor(BaseVideoProcessor):
    """
    Samples frames from videos and prepares them as CLIP prepares images.

    Calling it with `num_frames` T, V = `num_temporal_views` x `num_spatial_views` views and B videos returns
    `pixel_values` of shape

    * `(B, T, 3, H, W)` for one view,
    * `(B, V, T, 3, H, W)` for more; view `t * num_spatial_views + s` is crop s of clip t.

    They are float32, or uint8 with `do_rescale=False, do_normalize=False` for uint8 input (to normalise on the
    device). Without `return_tensors` they are a list of B tensors, which may then differ in shape.

    A video is given as a path, an http(s) URL, a file's bytes, a binary file object, an array or tensor of frames
    `(T, H, W, 3)` or `(T, 3, H, W)`, or a list of frames (PIL images or arrays). Files: indices are chosen first and
    only those frames are decoded, once for all views. Frames in memory are sampled by index in the same way; with
    `do_sample_frames=False` all of them, in order, are the clip. A single image is a clip of one frame, whatever
    `num_frames` says. A list is a batch, unless all its elements are single frames: then it is one video.

    Arrays of pixels are integers or floats with values in 0..255; for floats in 0..1 pass `do_rescale=False`.

    Loads from its own files, and from those of a plain CLIP checkpoint (`preprocessor_config.json`).

    Raises:
        ValueError: a setting that makes no sense, no videos, no frames, not 3 channels, pixels that are not finite,
            frames that do not fit into one tensor. Says what was found and what was expected.
        VideoReadError: a file that cannot be read (an `OSError` and a `ValueError`), see `VideoReader`.
    """

    _auto_class = "AutoVideoProcessor"  # saving it writes auto_map and its files, for trust_remote_code
    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"shortest_edge": 224}  # noqa: RUF012 - transformers copies its class defaults
    default_to_square = False
    crop_size = {"height": 224, "width": 224}  # noqa: RUF012
    do_resize = True
    do_center_crop = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    do_sample_frames = True
    num_frames = 8
    sampling = "uniform"
    frame_stride = 16
    num_temporal_views = 1
    num_spatial_views = 1
    allow_private = True
    valid_kwargs = VitaClipVideoProcessorKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(self, **kwargs: Unpack[VitaClipVideoProcessorKwargs]):
        # Files of other processors hold names that are not known here; one letter off is a slip of the pen.
        _refuse_misspelt(kwargs, self.valid_kwargs.__annotations__, type(self).__name__)
        super().__init__(**kwargs)
        _checked_sampling(vars(self))

    @classmethod
    def from_dict(cls, video_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in the base class; a misspelt setting in `kwargs` (`num_frame=16`) is a `ValueError`."""
        _refuse_misspelt(kwargs, cls.valid_kwargs.__annotations__, cls.__name__)
        return super().from_dict(video_processor_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As in the base class, without what a checkpoint does not decide: `allow_private`."""
        return {key: value for key, value in super().to_dict().items() if key != "allow_private"}

    @classmethod
    def get_video_processor_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict, dict]:
        """As in the base class; falls back to the image processor's settings of a plain CLIP checkpoint."""
        pretrained_model_name_or_path = locate_base(pretrained_model_name_or_path)
        check_small_files(pretrained_model_name_or_path)
        try:
            settings, unused = super().get_video_processor_dict(pretrained_model_name_or_path, **dict(kwargs))
        except OSError as error:
            # Saved by CLIPProcessor: the image processor's settings are nested in processor_config.json.
            try:
                settings, unused = CLIPImageProcessor.get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
            except OSError:
                raise error from None
        with errors_naming(f"The settings of videos in {pretrained_model_name_or_path}"):
            return _checked_settings(settings, cls), unused

    def preprocess(self, videos: VideoInput, **kwargs: Unpack[VitaClipVideoProcessorKwargs]) -> BatchFeature:
        """Sample, resize, crop and normalise; see the class for inputs and outputs."""
        settings = self._resolve_settings(kwargs)
        videos = as_video_batch(videos)
        metadata = settings["video_metadata"]
        metadata = [None] * len(videos) if metadata is None else make_batched_metadata(videos, metadata)
        clips = [
            _load_clip(video, f"video {number}", settings, given)
            for number, (video, given) in enumerate(zip(videos, metadata, strict=True))
        ]
        views = [self._crop_views(self._resize(clip.frames, settings), clip.num_clips, settings) for clip in clips]
        return_tensors = settings["return_tensors"]
        if return_tensors is not None:
            features = BatchFeature({"pixel_values": self._normalize(_stack(views), settings)}, return_tensors)
        else:
            features = BatchFeature({"pixel_values": [self._normalize(view, settings) for view in views]})
        if settings["return_metadata"]:
            features["video_metadata"] = [clip.metadata for clip in clips]
        return features

    def sample_frames(self, metadata: VideoMetadata, num_frames: int | None = None, **settings: Any) -> np.ndarray:
        """
        Indices of the frames to take, int64 of shape `(num_temporal_views * num_frames,)`.

        Args:
            metadata: of the video, with its number of frames.
            num_frames, settings: settings of the call that are not this object's own. Those that have nothing to do
                with sampling, such as `size`, change nothing here.

        Raises:
            ValueError: a setting is not known or makes no sense, `fps` among them: clips have `num_frames` frames.
        """
        given = {name: value for name, value in {"num_frames": num_frames, **settings}.items() if value is not None}
        check_names(given, self.valid_kwargs.__annotations__, type(self).__name__)
        return _checked_sampling({**vars(self), **given}).indices(metadata.total_num_frames).reshape(-1)

    def _resolve_settings(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The call's settings over this object's, checked and in transformers' standard form."""
        check_names(kwargs, self.valid_kwargs.__annotations__, type(self).__name__)
        try:
            validate_typed_dict(self.valid_kwargs, kwargs)
        except StrictDataclassError as error:
            raise ValueError(str(error)) from error
        own: dict[str, Any] = {key: getattr(self, key, None) for key in self.valid_kwargs.__annotations__}
        settings = own | kwargs
        _checked_sampling(settings)
        num_crops = settings["num_spatial_views"]
        if num_crops > 1 and not settings["do_center_crop"]:
            raise ValueError(f"num_spatial_views={num_crops} are crops of `crop_size`: do_center_crop must be True")
        settings = self._standardize_kwargs(**settings)
        self._validate_preprocess_kwargs(**settings)
        return settings

    def _resize(self, frames: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
        if settings["device"] is not None:
            frames = frames.to(settings["device"])
        if not settings["do_resize"]:
            return frames
        return self.resize(frames, size=settings["size"], resample=settings["resample"])

    def _crop_views(self, frames: torch.Tensor, num_clips: int, settings: dict[str, Any]) -> torch.Tensor:
        """`(K * T, 3, H, W)` frames of K clips to `(V, T, 3, h, w)`, or `(T, 3, h, w)` where V is 1."""
        crops = [frames]
        if settings["do_center_crop"]:
            crops = self._crops(frames, settings["crop_size"], settings["num_spatial_views"])
        # (S, K, T, ...) -> (K, S, T, ...): the crops of one clip stand together.
        views = torch.stack([crop.unflatten(0, (num_clips, -1)) for crop in crops], dim=1).flatten(0, 1)
        return views[0] if len(views) == 1 else views

    def _crops(self, frames: torch.Tensor, size: SizeDict, num_crops: int) -> list[torch.Tensor]:
        """`num_crops` crops equally spaced along the long side, a single one at the centre."""
        if num_crops == 1:
            return [self.center_crop(frames, size)]
        height, width = (max(frames.shape[-2], size.height), max(frames.shape[-1], size.width))
        # Frames smaller than the crop get the black border that CLIP's centre crop gives them.
        frames = self.center_crop(frames, SizeDict(height=height, width=width))
        top, left = (height - size.height) / 2, (width - size.width) / 2
        shares = [2 * crop / (num_crops - 1) for crop in range(num_crops)]
        corners = [(top * share, left) if height > width else (top, left * share) for share in shares]
        return [frames[..., int(y) : int(y) + size.height, int(x) : int(x) + size.width] for y, x in corners]

    def _normalize(self, frames: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
        names = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
        return self.rescale_and_normalize(frames, *(settings[name] for name in names))


class FileMetadata(VideoMetadata):
    """A file's metadata, whose `timestamps` are the seconds at which its frames are shown, at any rate of frames."""

    frame_times: np.ndarray | None = None  # no field: transformers makes other metadata from the fields

    @property
    def timestamps(self) -> list[float]:
        """Of the sampled frames."""
        if self.frame_times is None or self.frames_indices is None:
            return super().timestamps
        return self.frame_times[self.frames_indices].tolist()


@dataclass
class _Clip:
    """Frames of one video, `(num_clips * T, 3, H, W)`, and the metadata of their source."""

    frames: torch.Tensor
    num_clips: int
    metadata: VideoMetadata


def _load_clip(video: Any, name: str, settings: dict[str, Any], given: VideoMetadata | None) -> _Clip:
    sampling = _checked_sampling(settings) if settings["do_sample_frames"] else None

    def choose(metadata: VideoMetadata) -> np.ndarray:
        total = metadata.total_num_frames
        return np.arange(total) if sampling is None else sampling.indices(total).reshape(-1)

    if is_video_source(video):
        if given is not None:
            raise ValueError(f"{name}: video_metadata stands beside a file, which has its own; leave it out")
        reader = VideoReader(video, allow_private=settings["allow_private"])
        metadata = FileMetadata(**reader.metadata)
        metadata.frame_times = reader.frame_times
        metadata.frames_indices = choose(metadata).tolist()
        frames = reader.read_frames(metadata.frames_indices)
    else:
        if is_frame(video):
            sampling, video = None, [video]  # a single image is a clip of one frame
        if len(video) == 0:
            raise ValueError(f"{name}: has no frames, expected at least 1")
        metadata = given or VideoMetadata(total_num_frames=len(video))
        metadata.total_num_frames = len(video)
        metadata.frames_indices = choose(metadata).tolist()
        frames = _take_frames(video, metadata.frames_indices, name, settings)
        metadata.height, metadata.width = frames.shape[-2:]
    return _Clip(frames, 1 if sampling is None else sampling.num_temporal_views, metadata)


def _take_frames(video: Any, indices: list[int], name: str, settings: dict[str, Any]) -> torch.Tensor:
    """The chosen frames of a video in memory as `(T, 3, H, W)`, uint8 or float32."""
    if isinstance(video, (list, tuple)):
        frames = _stack_frames([video[index] for index in indices], name, settings["do_convert_rgb"])
    else:
        frames = torch.as_tensor(video)
        if indices != list(range(len(video))):
            frames = frames[torch.as_tensor(indices, device=frames.device)]
    frames = _channels_first(frames, name, settings["input_data_format"])
    return _as_pixels(frames, indices, name, settings["do_rescale"])


def _stack_frames(frames: list[Any], name: str, convert_to_rgb: bool) -> torch.Tensor:
    # Repeated frames are one object: convert each once.
    converted = {id(frame): _frame_as_tensor(frame, convert_to_rgb) for frame in frames}
    shapes = sorted({tuple(frame.shape) for frame in converted.values()})
    if len(shapes) > 1:
        raise ValueError(f"{name}: its frames have different shapes, {shapes}; expected one")
    return torch.stack([converted[id(frame)] for frame in frames])


def _frame_as_tensor(frame: Any, convert_to_rgb: bool) -> torch.Tensor:
    if not isinstance(frame, Image.Image):
        return torch.as_tensor(frame)
    if convert_to_rgb and frame.mode != "RGB":
        if "A" in frame.getbands() or "transparency" in frame.info:
            # As in transformers' images, transparent pixels show a white background.
            frame = frame.convert("RGBA")
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame)
        frame = frame.convert("RGB")
    pixels = np.array(frame)
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None])


def _channels_first(frames: torch.Tensor, name: str, data_format: str | ChannelDimension | None) -> torch.Tensor:
    """`(T, H, W, 3)` or `(T, 3, H, W)` to the latter; if both readings fit, channels first, as in transformers."""
    shape = tuple(frames.shape)
    if data_format is not None:
        axis = 1 if ChannelDimension(data_format) == ChannelDimension.FIRST else 3
    elif len(shape) == 4:
        axis = 1 if shape[1] == 3 else 3
    if len(shape) != 4 or shape[axis] != 3:
        raise ValueError(
            f"{name}: frames of shape {shape[1:]}, expected 3 channels: (height, width, 3) or (3, height, width)"
        )
    if 0 in shape:
        raise ValueError(f"{name}: frames of shape {shape[1:]} have no pixels")
    return frames if axis == 1 else frames.permute(0, 3, 1, 2)


def _as_pixels(frames: torch.Tensor, indices: list[int], name: str, do_rescale: bool) -> torch.Tensor:
    """Integers as uint8, other pixels as float32; values that no pixel can have are refused."""
    if frames.dtype == torch.uint8:
        return frames
    if frames.dtype == torch.bool or frames.is_complex():
        raise ValueError(f"{name}: pixels of type {frames.dtype}, expected uint8 or float")
    if not frames.is_floating_point():
        low, high = int(frames.min()), int(frames.max())
        if low < 0 or high > 255:
            raise ValueError(f"{name}: integer pixels from {low} to {high}, expected 0 to 255")
        return frames.to(torch.uint8)
    frames = frames.to(torch.float32)
    finite = frames.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0])
        value = frames[row][~frames[row].isfinite()][0].item()
        raise ValueError(f"{name}, frame {indices[row]}: holds {value} where a pixel's value is expected")
    if do_rescale and 0 < frames.max() <= 1 and frames.min() >= 0:
        logger.warning_once(
            f"{name}: its pixels lie between 0 and 1 and are about to be divided by 255 again; "
            "pass `do_rescale=False` for pixels that are rescaled already."
        )
    return frames


def as_video_batch(videos: Any) -> list[Any]:
    """One video or several, in any form, as a list of videos; a single video is the list's only element as it is."""
    if is_video_source(videos) or is_frame(videos):
        return [videos]
    if isinstance(videos, (np.ndarray, torch.Tensor)):
        if videos.ndim not in (4, 5):
            raise ValueError(
                f"an array of shape {tuple(videos.shape)} is no video: expected 3 dimensions for an image, "
                "4 for a video's frames, 5 for a batch of videos"
            )
        return list(videos) if videos.ndim == 5 else [videos]
    if not isinstance(videos, (list, tuple)):
        raise ValueError(
            "a video is a path, an http(s) URL, bytes, a binary file object, an array, a tensor, or a list of frames; "
            f"found {type(videos).__name__}"
        )
    if not videos:
        raise ValueError("no videos: found an empty list, expected at least 1 video or 1 frame")
    if all(is_frame(video) for video in videos):
        return [videos]
    return [_check_video(video, number) for number, video in enumerate(videos)]


def _check_video(video: Any, number: int) -> Any:
    is_array = isinstance(video, (np.ndarray, torch.Tensor))
    if is_video_source(video) or is_frame(video) or (is_array and video.ndim == 4):
        return video
    if not isinstance(video, (list, tuple)):
        found = f"of shape {tuple(video.shape)}" if hasattr(video, "shape") else f"{video!r:.60}"
        raise ValueError(f"video {number}: {type(video).__name__} {found} is neither a source of frames nor frames")
    if not all(is_frame(frame) for frame in video):
        raise ValueError(
            f"video {number}: a list of {type(video[0]).__name__}, expected a list of frames (PIL images or "
            "3-dimensional arrays)"
        )
    return video


def is_frame(value: Any) -> bool:
    """Whether `value` is a single frame: a PIL image, or an array or tensor of 3 dimensions."""
    return isinstance(value, Image.Image) or (isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 3)


def _stack(views: Sequence[torch.Tensor]) -> torch.Tensor:
    shapes = [tuple(view.shape) for view in views]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"videos of different shapes {shapes} do not fit into one tensor: sample the same number of frames "
            "(do_sample_frames=True) and crop to one size (do_center_crop=True), or leave out return_tensors"
        )
    return torch.stack(list(views))


def check_names(given: Iterable[str], known: Collection[str], taker: str) -> None:
    """Raises `ValueError` for the first name that `taker` does not know, with the known name that it resembles."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"is {near[0]} meant?" if near else f"it takes {', '.join(sorted(known))}"
            raise ValueError(f"{taker} has no argument {name}; {meant}")


def _refuse_misspelt(given: Iterable[str], known: Collection[str], taker: str) -> None:
    check_names([name for name in given if difflib.get_close_matches(name, known, 1, 0.85)], known, taker)


def _checked_sampling(settings: Mapping[str, Any]) -> FrameSampling:
    if settings.get("fps") is not None:
        raise ValueError(
            f"fps={settings['fps']} was given, but clips have a fixed number of frames: "
            "use num_frames, and sampling='strided' with frame_stride"
        )
    _check_count("num_spatial_views", settings["num_spatial_views"])
    return FrameSampling(**{name: settings[name] for name in FrameSampling.__dataclass_fields__})


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or not 1 <= value <= MOST_FRAMES:
        raise ValueError(f"{name} must be an integer of at least 1, found {value!r}; the most is {MOST_FRAMES}")


__all__ = ["FrameSampling", "VitaClipVideoProcessor", "as_video_batch", "is_frame"]
