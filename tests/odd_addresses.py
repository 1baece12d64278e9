"""Weights of loaded checkpoints at odd addresses, so that every machine shows which results depend on alignment."""

import functools
import itertools
from collections import defaultdict
from typing import Any

import torch
from torch import nn


def move_weights(model: nn.Module, offset: int) -> None:
    """Copies every plain tensor of the model to `offset` elements behind the start of new memory."""
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor) in (nn.Parameter, torch.Tensor) and tensor.device.type == "cpu" and tensor.is_contiguous():
            memory = torch.empty(offset + tensor.numel(), dtype=tensor.dtype)
            tensor.data = memory[offset:].view(tensor.shape).copy_(tensor.data)


def load_at_odd_addresses(load: Any) -> Any:
    """
    A `from_pretrained` whose models lie 1 to 15 elements behind aligned addresses.

    Each checkpoint has an offset of its own, which stays the same: a mapped file behaves so too. Two loadings of one
    folder are alike, two folders with the same tensors are not, and neither is like a model that was never saved.
    """
    offsets: dict[str, int] = defaultdict(functools.partial(next, itertools.cycle(range(1, 16))))

    @functools.wraps(load)
    def load_and_move(cls: type, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        loaded = load(cls, pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with `output_loading_info`
        move_weights(model, offsets[str(pretrained_model_name_or_path)])
        return loaded

    return classmethod(load_and_move)
