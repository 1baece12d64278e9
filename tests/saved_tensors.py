"""What a computation keeps for its backward pass."""

import torch
from torch import nn


def saved_bytes(compute, model: nn.Module | None = None) -> int:
    """The bytes that `compute` keeps for its backward pass, each storage once; the model's weights are not counted."""
    weights = {weight.untyped_storage().data_ptr() for weight in (model.parameters() if model else ())}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    assert result.requires_grad
    return sum(storage.nbytes() for address, storage in storages.items() if address not in weights)
