"""What the card of a checkpoint says of its method: Vita-CLIP, Efficient-Prompt, or a CLIP that was fine-tuned."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from ..modeling.configuration_efficient_prompt import EfficientPromptConfig
from ..modeling.configuration_vita_clip import NO_PROMPTS, PromptedClipConfig, VitaClipConfig, read_config_fields


@dataclass(frozen=True)
class Method:
    """
    Args:
        config_class: of its checkpoints.
        model_class: the name of its model in this package.
        tag: on the Hub.
        description: the card's first sentences.
        citation: BibTeX.
        prompt_settings: which prompts a configuration has, as rows of a table.
    """

    config_class: type[PromptedClipConfig]
    model_class: str
    tag: str
    description: str
    citation: str
    prompt_settings: Callable[[PromptedClipConfig], list[tuple[str, str]]]


def _vita_clip_prompts(config: PromptedClipConfig) -> list[tuple[str, str]]:
    vision, text = config.vision_config, config.text_config
    scope = {"class": "for each class", "unified": "for all classes"}[text.text_prompt_scope]
    contexts = f"{text.text_prompt_length} {scope}, name at the {text.text_prompt_position}"
    return [
        ("temporal embedding", _switch(vision.use_temporal_embedding)),
        ("summary token", _switch(vision.use_summary_token, vision.summary_attention_dim, "{} wide")),
        ("global prompts", _switch(vision.use_global_prompts, vision.num_global_prompts, "{} in each layer")),
        ("local prompts", _switch(vision.use_local_prompts, vision.num_frames, "{} in each layer")),
        ("learned contexts", contexts if text.text_prompt_length else "off"),
    ]


def _efficient_prompt_prompts(config: PromptedClipConfig) -> list[tuple[str, str]]:
    layers = f"{config.num_temporal_layers} layers of {config.num_temporal_heads} heads"
    vectors = f"{config.prefix_length} before a name and {config.suffix_length} behind it, for all classes"
    return [
        ("temporal Transformer", layers if config.num_temporal_layers else "off"),
        ("learned vectors", vectors if config.text_prompt_length else "off"),
    ]


def _switch(on: bool, number: int | None = None, form: str = "{}") -> str:
    return ("on" if number is None else form.format(number)) if on else "off"


METHODS = {
    VitaClipConfig.model_type: Method(
        VitaClipConfig,
        "VitaClipModel",
        "vita-clip",
        "A [Vita-CLIP](https://arxiv.org/abs/2304.03307): a frozen CLIP that reads videos by prompts alone. It names "
        "what happens in a video, among the classes it was trained on or among any others that are given as text.",
        """@inproceedings{wasim2023vitaclip,
  title     = {Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting},
  author    = {Wasim, Syed Talal and Naseer, Muzammal and Khan, Salman and Khan, Fahad Shahbaz and Shah, Mubarak},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2023}
}""",
        _vita_clip_prompts,
    ),
    EfficientPromptConfig.model_type: Method(
        EfficientPromptConfig,
        "EfficientPromptModel",
        "efficient-prompt",
        "An [Efficient-Prompt](https://arxiv.org/abs/2112.04478): a frozen CLIP with learned vectors around the class "
        "names and a small Transformer over the features of frames. It names what happens in a video, among the "
        "classes it was trained on or among any others that are given as text.",
        """@inproceedings{ju2022prompting,
  title     = {Prompting Visual-Language Models for Efficient Video Understanding},
  author    = {Ju, Chen and Han, Tengda and Zheng, Kunhao and Zhang, Ya and Xie, Weidi},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2022}
}""",
        _efficient_prompt_prompts,
    ),
}


FINE_TUNED = Method(
    VitaClipConfig,
    "VitaClipModel",
    "fine-tuned-clip",
    "A CLIP that was trained as a whole on videos, without prompts: a video is the mean of its frames, as in "
    "[ViFi-CLIP](https://arxiv.org/abs/2212.03640). It names what happens in a video, among the classes it was "
    "trained on or among any others that are given as text.",
    """@inproceedings{rasheed2023vificlip,
  title     = {Fine-tuned CLIP Models are Efficient Video Learners},
  author    = {Rasheed, Hanoona and Khattak, Muhammad Uzair and Maaz, Muhammad and Khan, Salman and
               Khan, Fahad Shahbaz},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2023}
}""",
    lambda config: [("prompts", "none")],
)


def method_of(config: PromptedClipConfig) -> Method:
    """The method of a checkpoint: a Vita-CLIP without any prompt and base is a CLIP that was trained as a whole."""
    is_whole = isinstance(config, VitaClipConfig) and config.base_model_name_or_path is None
    if is_whole and all(getattr(config, name) == off for name, off in NO_PROMPTS.items()):
        return FINE_TUNED
    return METHODS[config.model_type]


def read_config(folder: str | os.PathLike) -> PromptedClipConfig:
    """
    The configuration of a saved checkpoint of either method.

    Raises:
        OSError: the folder has none.
        ValueError: it is damaged, or of another kind of model.
    """
    kind = read_config_fields(folder).get("model_type")
    method = METHODS.get(str(kind))
    if method is None:
        raise ValueError(
            f"{folder}: is a model of the type {kind!r}; expected one of {', '.join(map(repr, METHODS))}."
        )
    return method.config_class.from_pretrained(folder)


__all__ = ["METHODS", "Method", "method_of", "read_config"]
