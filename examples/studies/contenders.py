"""The methods of `compare_methods.py`: how each is built from the tiny CLIP, trained, and given other texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPModel, set_seed
from vita_clip_hf.modeling.labels_vita_clip import tokenize_labels
from vita_clip_hf.modeling.remote_code_vita_clip import locate_base
from x_clip_training import x_clip_from

from vita_clip_hf import VitaClipProcessor
from vita_clip_hf.demo.recipe import PROMPTS, TINY_CLIP, Recipe
from vita_clip_hf.demo.training import ATTENTION, train_prompts
from vita_clip_hf.models import ClipMean, EfficientPrompt, VideoTextModel, VitaClip, XClip
from vita_clip_hf.training.methods import load_model_to_train
from vita_clip_hf.training.options import EFFICIENT_PROMPT, FINETUNE, VITA_CLIP, ModelOptions

FROZEN, X_CLIP = "frozen", "x_clip"
COMPACT = {"summary_attention_dim": 32, "cls_projection_rank": 16}
UNIFIED = {"text_prompt_scope": "unified"}
SENTENCE = "a shape {}"


@dataclass(frozen=True)
class Contender:
    """
    One method of the study.

    Args:
        kind: how it is built: a method of `vita-clip train`, "x_clip" or "frozen".
        fields: of its configuration.
        rates: learning rates of AdamW, of which the study chooses one.
        template: the text of a class that was not trained.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = (0.0,)
    template: str = SENTENCE


PROMPT_RATES, WHOLE_RATES = (2e-3, 4e-3, 8e-3, 1.6e-2), (3e-4, 1e-3, 3e-3)
# X-CLIP and Efficient-Prompt are trained on names alone, and unified contexts stand in the place of a template.
CONTENDERS = {
    "CLIP, mean of frames": Contender(FROZEN),
    "Efficient-Prompt": Contender(EFFICIENT_PROMPT, {}, PROMPT_RATES, "{}"),
    "X-CLIP": Contender(X_CLIP, {}, WHOLE_RATES, "{}"),
    "fine-tuned CLIP": Contender(FINETUNE, {"class_template": SENTENCE}, WHOLE_RATES),
    "Vita-CLIP": Contender(VITA_CLIP, PROMPTS, PROMPT_RATES),
    "Vita-CLIP, unified": Contender(VITA_CLIP, {**PROMPTS, **UNIFIED}, PROMPT_RATES, "{}"),
    "Vita-CLIP compact": Contender(VITA_CLIP, {**PROMPTS, **COMPACT}, PROMPT_RATES),
    "Vita-CLIP compact, unified": Contender(VITA_CLIP, {**PROMPTS, **COMPACT, **UNIFIED}, PROMPT_RATES, "{}"),
}


def build(contender: Contender, labels: Sequence[str], num_frames: int, seed: int, tokenizer: Any) -> nn.Module:
    """The model before training."""
    set_seed(seed)
    if contender.kind in (FROZEN, X_CLIP):
        clip = CLIPModel.from_pretrained(locate_base(TINY_CLIP), attn_implementation=ATTENTION)
        if contender.kind == FROZEN:
            return clip.requires_grad_(False)
        x_clip = x_clip_from(clip, num_frames)
        x_clip.set_classes(list(labels), tokenizer)
        return x_clip
    options = ModelOptions(
        method=contender.kind,
        base=TINY_CLIP,
        attn_implementation=ATTENTION,
        **contender.fields,
    )
    return load_model_to_train(options, list(labels), num_frames)


def train(
    contender: Contender, model: nn.Module, recipe: Recipe, clips: Any, processor: VitaClipProcessor, folder: Path
) -> None:
    """Trains in place by the demo's training; a frozen CLIP stays as it is."""
    if contender.kind != FROZEN:
        train_prompts(model, recipe, clips, None, processor, folder / "trainer", progress=False)


@dataclass(frozen=True)
class Judged:
    """A trained model with its way to read texts."""

    model: VideoTextModel
    contender: Contender
    labels: tuple[str, ...]

    @classmethod
    def of(cls, contender: Contender, model: Any, labels: Sequence[str], tokenizer: Any) -> "Judged":
        wrappers: dict[str, Callable[..., VideoTextModel]] = {
            FROZEN: ClipMean,
            X_CLIP: XClip,
            EFFICIENT_PROMPT: EfficientPrompt,
        }
        wrapper = wrappers.get(contender.kind, VitaClip)
        return cls(wrapper(model.eval(), tokenizer), contender, tuple(labels))

    def own_classes(self) -> torch.Tensor:
        """The classes that were trained, `(C, D')`; of a frozen CLIP and of X-CLIP by their names."""
        if self.contender.kind in (FROZEN, X_CLIP):
            return self.names(self.labels)
        return self.model.encode_classes()

    def names(self, names: Sequence[str]) -> torch.Tensor:
        """Classes that were not trained, `(C, D')`, in the contender's template."""
        return self.texts([self.contender.template.replace("{}", name) for name in names])

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Any texts, `(C, D')`; those of unified contexts stand behind the contexts, as the classes did."""
        if self.contender.fields.get("text_prompt_scope") == "unified":
            tokens = tokenize_labels(self.model.tokenizer, list(texts))
            return self.model.model.get_class_features(label_token_ids=tokens).pooler_output
        return self.model.encode_texts(texts)


def count_trained(model: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
