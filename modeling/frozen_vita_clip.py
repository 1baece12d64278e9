"""
When the product of a linear layer may be computed on the CPU without calling the layer: no gradient of its weights is
asked for, and nothing is attached to it.

torch writes the bias into the result first and then adds the product to it. What is to be added to the result anyway
can stand in the bias's place.
"""

import torch
from torch import nn

from .graphs_vita_clip import in_graph, in_transform, is_watched


def may_bypass(tokens: torch.Tensor, *layers: nn.Module) -> bool:
    """
    Whether the products of `layers` with `tokens` may be computed without calling them.

    On a CPU only: GPU kernels add a bias within the product, and compilers fuse the plain form themselves. And not
    where a call does more than torch's own linear layer, somebody looks at the operations, or weights are trained,
    quantized or offloaded.
    """
    if tokens.device.type != "cpu" or not tokens.numel() or in_graph() or in_transform() or is_watched():
        return False
    return all(runs_only_forward(layer) and _is_linear_without_gradient(layer) for layer in layers)


def runs_only_forward(module: nn.Module) -> bool:
    """
    Whether a call of the module is its class's forward() and nothing else. Hooks of all modules at once
    (`register_module_forward_hook`) are not looked for: torch's own counter of operations is one.
    """
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "forward" not in vars(module) and not any(hooks)


def _is_linear_without_gradient(layer: nn.Module) -> bool:
    """torch's own linear layer with a bias, its weights in memory and of no type that has products of its own."""
    if type(layer) is not nn.Linear or layer.bias is None:
        return False
    weights = (layer.weight, layer.bias)
    trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
    return not trained and all(type(weight) is nn.Parameter and not weight.is_meta for weight in weights)


def as_autocast(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """
    The tensors as `torch.autocast` gives them to a matrix product: cast once, for as many products as there are. Their
    gradients are then summed in that type too.
    """
    device = tensors[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):  # shapes alone have no autocast to ask for
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors]


def plus(residual: torch.Tensor | None, out: torch.Tensor) -> torch.Tensor:
    """residual + out, and `out` itself where there is no residual."""
    return out if residual is None else residual + out
