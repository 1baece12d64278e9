"""Text and videos to model inputs: CLIP's tokenizer and the video processor behind one call."""

from transformers.processing_utils import ProcessorMixin

from .configuration_vita_clip import errors_naming
from .labels_vita_clip import load_tokenizer_of
from .remote_code_vita_clip import locate_base
from .video_processing_vita_clip import VitaClipVideoProcessor


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

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers, also from `package://name/folder`; a tokenizer without words is an `OSError`."""
        name = locate_base(pretrained_model_name_or_path)
        with errors_naming(f"The processor of {name}"):
            return super().from_pretrained(name, **kwargs)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs) -> list:
        # The base class asks AutoVideoProcessor, which knows none for a plain CLIP checkpoint. Naming the class also
        # spares remote code from being resolved a second time.
        video_processor = VitaClipVideoProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = load_tokenizer_of(pretrained_model_name_or_path, **kwargs)
        return [tokenizer, video_processor]


__all__ = ["VitaClipProcessor"]
