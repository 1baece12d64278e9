"""The plain, equation-by-equation Vita-CLIP of the tests, as something to compare with; it is not installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..convert import vita_clip_to_original
from ..modeling.modeling_vita_clip import VitaClipModel

ORACLE = Path(__file__).resolve().parents[2] / "tests" / "plain_vita_clip.py"
MODULE_NAME = "vita_clip_oracle"


def has_oracle() -> bool:
    """Whether this is a checkout of the repository, which has the oracle."""
    return ORACLE.is_file()


def load_oracle() -> ModuleType:
    """
    The oracle's module.

    Raises:
        FileNotFoundError: the package was installed without its repository.
    """
    if not has_oracle():
        raise FileNotFoundError(
            "The contender 'plain' is tests/plain_vita_clip.py, which only a checkout of the repository has: clone it "
            "and `pip install -e .`, or leave 'plain' out of --contenders."
        )
    if MODULE_NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(MODULE_NAME, ORACLE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"{ORACLE} is not a Python module.")
        module = sys.modules[MODULE_NAME] = importlib.util.module_from_spec(spec)  # dataclasses look it up there
        spec.loader.exec_module(module)
    return sys.modules[MODULE_NAME]


def oracle_of(model: VitaClipModel) -> nn.Module:
    """
    The oracle with the weights of `model`, and gradients for the same of them.

    Raises:
        FileNotFoundError: not a checkout.
        ValueError: a configuration that the plain code does not know.
    """
    plain = load_oracle()
    config = model.config
    vision, text = config.vision_config, config.text_config
    _require("hidden_act", text.hidden_act, "quick_gelu")
    _require("hidden_act", vision.hidden_act, "quick_gelu")
    _require("vocab_size", text.vocab_size, plain.VOCAB_SIZE)
    _require("max_position_embeddings", text.max_position_embeddings, plain.TEXT_POSITIONS)
    _require("local_prompt_condition", vision.local_prompt_condition, "projection")
    oracle = plain.PlainVitaClip(
        plain.PlainConfig(
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            num_frames=config.num_frames,
            hidden_size=vision.hidden_size,
            num_heads=vision.num_attention_heads,
            num_layers=vision.num_hidden_layers,
            embed_dim=config.projection_dim,
            text_hidden_size=text.hidden_size,
            text_heads=text.num_attention_heads,
            text_layers=text.num_hidden_layers,
            use_summary_token=config.use_summary_token,
            use_local_prompts=config.use_local_prompts,
            use_global_prompts=config.use_global_prompts,
            num_global_prompts=config.num_global_prompts,
            text_num_prompts=config.text_prompt_length,
            text_prompt_CSC=config.text_prompt_scope == "class",
            text_prompt_pos=config.text_prompt_position,
            num_classes=config.num_labels,
        )
    )
    weights: dict[str, torch.Tensor] = vita_clip_to_original(model)
    oracle.load_released(weights)
    oracle.freeze(train_cls_proj=config.train_cls_projection)
    return oracle


def _require(field: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise ValueError(f"The contender 'plain' has {field}={expected!r} only; this model has {found!r}.")
