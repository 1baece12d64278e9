"""Which model it is: a hash over weights and settings, by which features and reports are told apart."""

import hashlib
import json
from typing import Any

import torch

from .interface import VideoTextModel


@torch.no_grad()
def model_fingerprint(model: VideoTextModel) -> str:
    """
    A hash over all weights of a model, prompts too, and its kind, `sha256:...`. The same weights give the same on any
    device; in another precision they give another, since features differ.
    """
    module = model.model
    digest = hashlib.sha256(type(module).__name__.encode())
    digest.update(json.dumps(_settings_of(module.config), sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            content = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{tuple(content.shape)}{content.dtype}".encode())
            digest.update(content.view(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def _settings_of(config: Any) -> dict[str, Any]:
    """What a configuration says about the computation: not where the model was, nor its classes."""
    passing = {
        *("transformers_version", "dtype", "torch_dtype", "id2label", "label2id", "architectures", "auto_map"),
        *("label_token_ids", "base_model_name_or_path", "base_model_revision", "base_model_fingerprint"),
    }
    settings = config.to_dict()
    for half in ("text_config", "vision_config"):
        settings |= {f"{half}.{name}": value for name, value in settings.pop(half, {}).items()}
    return {
        name: value
        for name, value in settings.items()
        if name.rpartition(".")[2] not in passing and not name.rpartition(".")[2].startswith("_")
    }


__all__ = ["model_fingerprint"]
