"""What is compared: each contender turns clips and classes into features in its own way, under one interface."""

from collections.abc import Callable

import torch
from torch import nn
from transformers import CLIPModel, XCLIPConfig, XCLIPModel
from transformers.utils import is_torchao_available

from ..modeling.configuration_vita_clip import VitaClipConfig
from ..modeling.modeling_vita_clip import VitaClipModel
from ..quantization import quantize_base
from .oracle import has_oracle, oracle_of
from .settings import CONTENDERS, QUANTIZED, BenchmarkSettings
from .sizes import SIZES, padded_texts, vita_config

TEXT_CHUNK = 512  # texts encoded at once by those who would take any number, as the model itself does


class Contender:
    """One way from clips `(B, T, 3, H, W)` and C classes to features `(B, D')` and `(C, D')`, not normalised."""

    trains = False

    def __init__(self, model: nn.Module):
        self.model = model

    def video(self, clips: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def text(self) -> torch.Tensor:
        raise NotImplementedError

    def forget(self) -> None:
        """Drops whatever was kept from an earlier call."""

    def quantize(self) -> None:
        """Called once, when the weights are where and in what they are to be for inference."""

    def logits(self, clips: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        """`(B, C)`, from class features that were computed before."""
        video = nn.functional.normalize(self.video(clips), dim=-1)
        return self.model.logit_scale.exp() * video @ nn.functional.normalize(text_features, dim=-1).t()

    def loss(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Clip(Contender):
    """transformers' `CLIPModel` on the same frames and padded texts: what one pays without video."""

    def __init__(self, model: nn.Module, input_ids: torch.Tensor):
        super().__init__(model)
        model.register_buffer("benchmark_texts", input_ids, persistent=False)  # so that it moves with the model

    def video(self, clips: torch.Tensor) -> torch.Tensor:
        features = self.model.get_image_features(clips.flatten(0, 1)).pooler_output
        return features.unflatten(0, clips.shape[:2]).mean(dim=1)

    def text(self) -> torch.Tensor:
        chunks = self.model.benchmark_texts.split(TEXT_CHUNK)
        return torch.cat([self.model.get_text_features(chunk).pooler_output for chunk in chunks])


class XClip(Clip):
    """transformers' `XCLIPModel` of the same size: the video model that the library already has."""

    def video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.model.get_video_features(clips).pooler_output


class Plain(Contender):
    """The oracle of the tests: the paper's equations, one by one."""

    trains = True

    def __init__(self, model: nn.Module, input_ids: torch.Tensor):
        super().__init__(model)
        model.register_buffer("benchmark_texts", input_ids, persistent=False)

    def video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.model.visual(clips.transpose(1, 2))

    def text(self) -> torch.Tensor:
        return self.model.text_features(self.model.benchmark_texts)

    def loss(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.model.loss(clips.transpose(1, 2), self.model.benchmark_texts, labels)


class Vita(Contender):
    """This package's model. In training also on a base stored in bfloat16, and with gradient checkpointing beside."""

    trains = True

    def video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.model.get_video_features(clips).pooler_output

    def text(self) -> torch.Tensor:
        return self.model.get_class_features().pooler_output

    def forget(self) -> None:
        self.model.class_prompts.train(self.model.training)

    def logits(self, clips: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        return self.model(clips, text_embeds=text_features).logits_per_video

    def loss(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.model(clips, labels=labels).loss


class VitaInt8(Vita):
    """The same with CLIP's linear layers in int8, weights and what comes in; prompts are as they were."""

    trains = False

    def quantize(self) -> None:
        quantize_base(self.model, "int8 dynamic")


def available_contenders(settings: BenchmarkSettings) -> tuple[str, ...]:
    """Those asked for; by default all, the oracle only where it is and int8 where torchao is."""
    if settings.contenders is not None:
        return tuple(name for name in CONTENDERS if name in settings.contenders)
    missing = set() if has_oracle() else {"plain"}
    if not is_torchao_available():
        missing.update(QUANTIZED)
    return tuple(name for name in CONTENDERS if name not in missing)


def build_contender(name: str, settings: BenchmarkSettings) -> Contender:
    """
    Builds one of `CONTENDERS` on the CPU in float32. The same settings give `plain` and `vita` the same weights.

    Raises:
        OSError: no such checkpoint, or no oracle.
        ValueError: a configuration that the contender does not know.
    """
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return _BUILDERS[name](settings)


def _config(settings: BenchmarkSettings) -> VitaClipConfig:
    return vita_config(settings.model, settings.frames, settings.classes, settings.contexts, settings.seed)


def _texts(config: VitaClipConfig) -> torch.Tensor:
    length = config.text_config.max_position_embeddings
    return padded_texts(config.label_token_ids or [], config.text_prompt_length, length)


def _build_vita(settings: BenchmarkSettings) -> Vita:
    config = _config(settings)
    if settings.model in SIZES:
        return Vita(VitaClipModel(config))
    return Vita(VitaClipModel.from_pretrained(settings.model, config=config, dtype=torch.float32))


def _build_vita_bf16(settings: BenchmarkSettings) -> Vita:
    contender = _build_vita(settings)
    contender.model.cast_base(torch.bfloat16)
    return contender


def _build_vita_int8(settings: BenchmarkSettings) -> VitaInt8:
    return VitaInt8(_build_vita(settings).model)


def _build_vita_checkpoint(settings: BenchmarkSettings) -> Vita:
    contender = _build_vita_bf16(settings)
    model = contender.model
    # transformers 5.23 gave it another name.
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    return contender


def _build_plain(settings: BenchmarkSettings) -> Plain:
    model = _build_vita(settings).model
    return Plain(oracle_of(model), _texts(model.config))


def _build_clip(settings: BenchmarkSettings) -> Clip:
    # Of the whole configuration CLIP reads its own fields; weights do not change its speed.
    config = _config(settings)
    return Clip(CLIPModel(config), _texts(config))


def _build_xclip(settings: BenchmarkSettings) -> XClip:
    config = _config(settings)
    vision, text = config.vision_config, config.text_config
    shared = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    projection = config.projection_dim
    heads = max(1, projection // 64)
    return XClip(
        XCLIPModel(
            XCLIPConfig(
                vision_config={
                    **{field: getattr(vision, field) for field in (*shared, "image_size", "patch_size")},
                    "num_frames": settings.frames,
                    "mit_hidden_size": projection,
                    "mit_intermediate_size": 4 * projection,
                    "mit_num_attention_heads": heads,
                },
                text_config={
                    **{field: getattr(text, field) for field in (*shared, "vocab_size", "max_position_embeddings")},
                    "eos_token_id": text.eos_token_id,
                },
                projection_dim=projection,
                prompt_num_attention_heads=heads,
            )
        ),
        _texts(config),
    )


_BUILDERS: dict[str, Callable[[BenchmarkSettings], Contender]] = {
    "clip": _build_clip,
    "xclip": _build_xclip,
    "plain": _build_plain,
    "vita": _build_vita,
    "vita-bf16": _build_vita_bf16,
    "vita-checkpoint": _build_vita_checkpoint,
    "vita-int8": _build_vita_int8,
}
