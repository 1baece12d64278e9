"""Text features, kept until what they come from changes."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any
from weakref import ref

import torch
from torch import nn

from .graphs_vita_clip import in_graph

# What of a model text features come from.
_BEHIND_FEATURES = ("text_model", "class_prompts", "text_projection")


class ClassFeatureCache:
    """
    Text features of a model that is not in training, kept until something changes that can be seen: the weights and
    buffers behind them, modules or a module's `forward` exchanged, forward hooks put on or taken off, peft's adapters
    switched, disabled or merged, or the features themselves, which the caller was given and may have written to.

    Not seen are changes that torch does not count, through `weight.data`, until the model's `train()` or `eval()` is
    called after them; what a hook that stays computes from elsewhere; and other attributes of modules, such as the
    scale of a peft adapter.
    """

    def __init__(self) -> None:
        self._kept: tuple[_Origin, torch.Tensor, int] | None = None

    def __reduce__(self) -> tuple:
        return ClassFeatureCache, ()  # a copy of the model has weights of its own

    def clear(self) -> None:
        """Forgets the features."""
        self._kept = None

    def get(self, model: nn.Module, encode: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The features that `encode` gives, `(C, D')`: kept ones where the same weights gave them."""
        if model.training or torch.is_grad_enabled() or in_graph():
            return encode()
        origin = _origin_of_features(model)
        if origin is None:
            return encode()
        if self._kept is not None:
            kept_origin, features, version = self._kept
            if origin == kept_origin and features._version == version:
                return features
        features = _with_version(encode())
        self._kept = origin, features, features._version
        return features


class _Origin:
    """
    What features come from. Two are equal if their objects are the same ones and their values equal.

    Objects are held weakly: an address may come to be another object's, a reference may not, and what was replaced or
    moved to another device is not kept in memory.
    """

    def __init__(self, objects: Iterable[Any], values: Hashable):
        self._references = [ref(thing) for thing in objects]
        self._values = values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Origin) or len(self._references) != len(other._references):
            return False
        pairs = zip(self._references, other._references, strict=True)
        return self._values == other._values and all(mine() is its() is not None for mine, its in pairs)


def _origin_of_features(model: nn.Module) -> _Origin | None:
    """
    Of all modules that text features come from: the modules, every tensor with its storage and version, hooks, and
    which adapters of peft are on. `None` where that cannot be told: torch keeps no versions (inference mode), or no
    storage (`torch.func`); weights come from elsewhere for one call (replicas of `DataParallel`, offloading).
    """
    modules = [part for behind in _BEHIND_FEATURES for part in getattr(model, behind).modules()]
    weights = [weight for module in modules for weight in module._parameters.values() if weight is not None]
    buffers = [buffer for module in modules for buffer in module._buffers.values() if buffer is not None]
    tensors = weights + buffers
    if not weights or any(tensor.is_meta or tensor.is_inference() for tensor in tensors):
        return None
    try:
        storages = [tensor.untyped_storage() for tensor in tensors]
        versions = tuple((tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors)
    except RuntimeError:
        return None
    device = weights[0].device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    hooks = tuple(hook for module in modules for hook in (*module._forward_pre_hooks, *module._forward_hooks))
    adapters = tuple(_adapters_in_use(module) for module in modules if _is_of_peft(module))
    forwards = [vars(module)["forward"] for module in modules if "forward" in vars(module)]
    return _Origin([*modules, *tensors, *storages, *forwards], (precision, versions, hooks, adapters))


def _is_of_peft(module: nn.Module) -> bool:
    """Whether it is a layer that peft put around another; told by an attribute, as peft need not be installed."""
    return "merged_adapters" in vars(module)


def _adapters_in_use(layer: Any) -> Hashable:
    return layer.disable_adapters, tuple(layer.active_adapters), tuple(layer.merged_adapters)


def _with_version(features: torch.Tensor) -> torch.Tensor:
    """A tensor whose changes torch counts, which it does not for one that was made in inference mode."""
    if not features.is_inference():
        return features
    with torch.inference_mode(False):
        return features.clone()
