"""The models that are compared, behind the interface of `vita_clip_hf.models`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel, XCLIPConfig, XCLIPModel

from vita_clip_hf import VitaClipModel
from vita_clip_hf.convert import vita_clip_to_original
from vita_clip_hf.models import ClipMean, VideoFeatures, VideoTextModel, VitaClip, XClip
from vita_clip_hf.models.interface import cosine_logits

from .sizes import Settings, padded_texts, vita_config

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # the oracle stands beside this folder
from plain_vita_clip import TEXT_POSITIONS, PlainConfig, PlainVitaClip

# Short name, and the name in tables. Any of them with the ending "-compiled" runs through torch.compile.
CONTENDERS = {
    "clip": "`CLIPModel`",
    "xclip": "`XCLIPModel`",
    "plain": "plain equations",
    "vita": "**Vita-CLIP**",
    "vita-cpu": "**Vita-CLIP**, `use_cpu_kernels`",
    "vita-bf16": "**Vita-CLIP**, its base in bfloat16",
    "vita-checkpoint": "**Vita-CLIP**, its base in bfloat16, gradient checkpointing",
    "vita-held": "**Vita-CLIP**, class features held",
}
COMPILED = "-compiled"


def title_of(contender: str) -> str:
    """The name in tables."""
    base = contender.removesuffix(COMPILED)
    return f"{CONTENDERS[base]}, compiled" if base != contender else CONTENDERS[base]


class PlainVita(VideoTextModel):
    """The oracle of the tests: the paper's equations, one by one."""

    def encode_videos(self, pixel_values: torch.Tensor) -> VideoFeatures:
        """Embeds clips `(B, T, 3, H, W)`. Features of single frames are not kept: `frame_embeds` is empty."""
        video_embeds = self.model.visual(pixel_values.transpose(1, 2))
        return VideoFeatures(video_embeds.new_empty(0), video_embeds)

    def logits(self, video: VideoFeatures, text_embeds: torch.Tensor) -> torch.Tensor:
        """exp(logit_scale) * cos(video, text), `(B, C)`."""
        return cosine_logits(video, text_embeds, self.model.logit_scale)


def build(contender: str, settings: Settings) -> VideoTextModel:
    """
    Builds a contender on the CPU in float32. The same settings give all Vita-CLIPs and the equations the same weights.

    Raises:
        ValueError: an unknown name.
    """
    name = contender.removesuffix(COMPILED)
    if name not in CONTENDERS:
        raise ValueError(f"Unknown contender {contender!r}; expected one of {', '.join(CONTENDERS)}.")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return BUILDERS.get(name, _vita)(settings)


def class_encoder(contender: str, model: VideoTextModel, settings: Settings) -> Callable[[], torch.Tensor]:
    """A call that encodes all classes, `(C, D')`. CLIP and X-CLIP are given words in the place of the contexts."""
    inner: Any = model.model
    if isinstance(model, VitaClip):
        if contender == "vita-held":
            inner.hold_class_features()
        return lambda: inner.get_class_features().pooler_output
    ids = padded_texts(settings, TEXT_POSITIONS if isinstance(model, PlainVita) else None).to(settings.device)
    if isinstance(model, PlainVita):
        return lambda: inner.text_features(ids)
    return lambda: inner.get_text_features(ids).pooler_output


def loss_of(model: VideoTextModel, settings: Settings) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """
    The loss of clips `(B, T, 3, H, W)` with labels `(B,)`.

    Raises:
        ValueError: the contender has no prompts to learn.
    """
    inner: Any = model.model
    if isinstance(model, VitaClip):
        return lambda clips, labels: inner(clips, labels=labels).loss
    if isinstance(model, PlainVita):
        ids = padded_texts(settings, TEXT_POSITIONS).to(settings.device)
        return lambda clips, labels: inner.loss(clips.transpose(1, 2), ids, labels)
    raise ValueError(f"{type(inner).__name__} has no prompts to learn: leave it out of training.")


def specialise(contender: str, model: VideoTextModel) -> None:
    """What a contender does to its model when the weights are where, and in the precision, they are used in."""
    name = contender.removesuffix(COMPILED)
    if name == "vita-cpu":
        from vita_clip_hf.modeling.cpu_vita_clip import use_cpu_kernels

        use_cpu_kernels(model.model)
    elif name in ("vita-bf16", "vita-checkpoint"):
        model.model.cast_base(torch.bfloat16)
        if name == "vita-checkpoint":
            inner = model.model  # transformers 5.23 gave the method another name
            getattr(inner, "activation_checkpointing_enable", inner.gradient_checkpointing_enable)()


def _clip(settings: Settings) -> ClipMean:
    return ClipMean(CLIPModel(vita_config(settings)))  # it reads its own fields of the configuration


def _xclip(settings: Settings) -> XClip:
    config = vita_config(settings)
    vision, text, projection = config.vision_config, config.text_config, config.projection_dim
    shared = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    integration = {"mit_hidden_size": projection, "mit_intermediate_size": 4 * projection}
    integration |= {"mit_num_attention_heads": projection // 64, "num_frames": settings.frames}
    vision_fields = {field: getattr(vision, field) for field in (*shared, "image_size", "patch_size")}
    text_fields = {field: getattr(text, field) for field in (*shared, "vocab_size", "max_position_embeddings")}
    xclip = XCLIPConfig(
        vision_config=vision_fields | integration,
        text_config=text_fields | {"eos_token_id": text.eos_token_id},
        projection_dim=projection,
        prompt_num_attention_heads=projection // 64,
    )
    return XClip(XCLIPModel(xclip))


def _vita(settings: Settings) -> VitaClip:
    return VitaClip(VitaClipModel(vita_config(settings)))


def _plain(settings: Settings) -> PlainVita:
    model = _vita(settings).model
    vision, text = model.config.vision_config, model.config.text_config
    oracle = PlainVitaClip(
        PlainConfig(
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            num_frames=settings.frames,
            hidden_size=vision.hidden_size,
            num_heads=vision.num_attention_heads,
            num_layers=vision.num_hidden_layers,
            embed_dim=model.config.projection_dim,
            text_hidden_size=text.hidden_size,
            text_heads=text.num_attention_heads,
            text_layers=text.num_hidden_layers,
            text_num_prompts=settings.contexts,
            num_classes=settings.classes,
        )
    )
    oracle.load_released(vita_clip_to_original(model))
    oracle.freeze(train_cls_proj=True)
    return PlainVita(oracle)


BUILDERS: dict[str, Callable[[Settings], VideoTextModel]] = {"clip": _clip, "xclip": _xclip, "plain": _plain}
