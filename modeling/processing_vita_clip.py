"""Text and videos to model inputs: CLIP's tokenizer and the video processor behind one call."""

import os
import re
from typing import Any

from transformers import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, TextKwargs

from .adapter_file_vita_clip import written_whole
from .configuration_vita_clip import check_small_files, errors_naming
from .labels_vita_clip import load_tokenizer_of
from .remote_code_vita_clip import locate_base
from .video_processing_vita_clip import VitaClipVideoProcessor, as_video_batch, check_names

# A URL of any scheme, or a name that ends as file names do.
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://.*|.*\.[a-z0-9]{2,4}", re.IGNORECASE | re.DOTALL)


class VitaClipProcessor(ProcessorMixin):
    """
    CLIP's tokenizer and `VitaClipVideoProcessor` as one object.

    `processor(text=[...], videos=..., return_tensors="pt", padding=True)` returns `input_ids` and `attention_mask` of
    shape `(number of texts, length)` and `pixel_values` as `VitaClipVideoProcessor` documents them; either input may
    be left out. Settings of the video processor are given by name (`num_frames=16`) or in `videos_kwargs={...}`.

    Loads from a Vita-CLIP repository, and from a plain CLIP checkpoint, whose image settings it takes over.

    Args:
        tokenizer ([`CLIPTokenizer`]): turns texts into `input_ids`.
        video_processor ([`VitaClipVideoProcessor`]): turns videos into `pixel_values`.
    """

    _auto_class = "AutoProcessor"  # saving it writes auto_map and its files, for trust_remote_code

    def __init__(self, tokenizer=None, video_processor=None):
        super().__init__(tokenizer, video_processor)

    def __call__(self, *video: Any, text: Any = None, videos: Any = None, **kwargs: Any) -> BatchFeature:
        """
        Args:
            video: one video, or several, in place of `videos=`. Of texts only a URL, a file's name with its ending, or
                the path of a file that exists is taken for a video.
            text (`str` or list of them, *optional*): a text or several.
            videos (*optional*): one video or several, in any form that [`VitaClipVideoProcessor`] takes.
            kwargs: settings of the video processor and the tokenizer by name, or in `videos_kwargs` and `text_kwargs`;
                `return_tensors`, `padding`.

        Returns:
            `input_ids` and `attention_mask` if there are texts, `pixel_values` if there are videos.

        Raises:
            ValueError: no input, one that is neither text nor video, or a setting that is not known or makes no sense.
            VideoReadError: a file cannot be read.
        """
        self._check_settings(kwargs)
        if video:
            videos = _only_video(video, videos)
        return super().__call__(text=text, videos=videos, **kwargs)

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> list[str]:
        """As transformers' own, but all files are written before the first takes its place; returns their paths."""
        with written_whole(save_directory) as folder:
            written = super().save_pretrained(str(folder), push_to_hub=push_to_hub, **kwargs)
        return [os.path.join(save_directory, os.path.basename(file)) for file in written]

    def _check_settings(self, kwargs: dict[str, Any]) -> None:
        """Refuses what would have no effect, and takes other inputs out of `kwargs` if they are empty."""
        for name in ("images", "audio", "audios", "images_kwargs", "audio_kwargs"):
            value = kwargs.pop(name, None)
            if value is not None and not (isinstance(value, dict) and not value):
                raise ValueError(
                    f"{type(self).__name__} takes text= and videos=, found {name}=; an image is given as a video of "
                    "one frame, videos=image"
                )
        of_text, of_videos = set(TextKwargs.__annotations__), set(self.video_processor.valid_kwargs.__annotations__)
        groups = {"text_kwargs": of_text, "videos_kwargs": of_videos, "common_kwargs": of_text & of_videos}
        # The tokenizer's `stride`, for texts that overflow, would be a silent answer to who means `frame_stride`.
        known = {*ProcessingKwargs.__annotations__, *groups, *of_text, *of_videos} - {"stride"}
        check_names(kwargs, known, type(self).__name__)
        for group, names in groups.items():
            check_names(kwargs.get(group) or {}, names, group)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers, also from `package://name/folder`; a tokenizer without words is an `OSError`."""
        name = locate_base(pretrained_model_name_or_path)
        check_small_files(name)
        with errors_naming(f"The processor of {name}"):
            return super().from_pretrained(name, **kwargs)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs) -> list:
        # The base class asks AutoVideoProcessor, which knows none for a plain CLIP checkpoint. Naming the class also
        # spares remote code from being resolved a second time.
        video_processor = VitaClipVideoProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = load_tokenizer_of(pretrained_model_name_or_path, **kwargs)
        return [tokenizer, video_processor]


def _only_video(given: tuple[Any, ...], videos: Any) -> Any:
    """The argument that was given without its name, if it can only be a video."""
    if len(given) > 1 or videos is not None:
        raise ValueError("More than one input was given without its name; write text=... and videos=...")
    (video,) = given
    texts = [text for text in (video if isinstance(video, (list, tuple)) else [video]) if isinstance(text, str)]
    is_place = isinstance(video, str) and (_PLACE.fullmatch(video) or os.path.isfile(video))
    if texts and not is_place:
        raise ValueError(f"{texts[0]!r:.80} may be text or the path of a video; write text=... or videos=...")
    as_video_batch(video)  # whatever is no video is refused here
    return video


__all__ = ["VitaClipProcessor"]
