"""CLIP's MLP with fewer passes over its wide middle, and with half of what is kept for the backward pass."""

import torch
from torch import nn
from transformers.models.clip.modeling_clip import CLIPMLP

SLOPE = 1.702


class VitaClipMLP(CLIPMLP):
    """
    CLIP's W2 a(W1 x + b1) + b2, with a(h) = h sigmoid(1.702 h), `"quick_gelu"`.

    h is the largest tensor of a layer, four times the model's width. Written plainly, a reads and writes it three
    times, and torch keeps two of its size for the backward pass. With u = 1.702 h the activation is silu(u) / 1.702,
    because silu(u) = u sigmoid(u). Both factors can be given to the matrix products beside it, where they cost
    nothing:

        u = 1.702 W1 x + 1.702 b1,    W2 a(h) + b2 = (1 / 1.702) W2 silu(u) + b2

    so that silu is the only pass, and, W2 being frozen, u the only wide tensor that torch keeps.
    """

    def __init__(self, config):
        super().__init__(config)
        if config.hidden_act == "quick_gelu":
            self.activation_fn = QuickGELU()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(..., D)` -> the same."""
        if not self._scales_products(hidden_states):
            return super().forward(hidden_states)
        tokens = hidden_states.flatten(0, -2)
        scaled = torch.addmm(self.fc1.bias, tokens, self.fc1.weight.t(), alpha=SLOPE, beta=SLOPE)
        # Where no gradient is asked for, nobody needs u again.
        activated = nn.functional.silu(scaled, inplace=not torch.is_grad_enabled())
        out = torch.addmm(self.fc2.bias, activated, self.fc2.weight.t(), alpha=1 / SLOPE)
        return out.view_as(hidden_states)

    def _scales_products(self, hidden_states: torch.Tensor) -> bool:
        """
        On a CPU only: cuBLAS adds a bias within the product as long as nothing is scaled, and compilers fuse the plain
        form themselves. And not where something else stands for one of the three steps, as with peft, quantized
        weights, offloading and hooks: called as modules, they are reached.
        """
        return (
            hidden_states.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and type(self.activation_fn) is QuickGELU
            and all(_is_plain(step) for step in (self.fc1, self.fc2, self.activation_fn))
            and all(_has_plain_weights(layer) for layer in (self.fc1, self.fc2))
        )


def _is_plain(module: nn.Module) -> bool:
    """Whether a call of the module is its class's forward() and nothing else."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "forward" not in vars(module) and not any(hooks)


def _has_plain_weights(layer: nn.Module) -> bool:
    """A linear layer with weights in memory, of no type that has products of its own."""
    is_plain = type(layer.weight) in (nn.Parameter, torch.Tensor)  # the latter in replicas of DataParallel
    return type(layer) is nn.Linear and is_plain and not layer.weight.is_meta


class QuickGELU(nn.Module):
    """
    CLIP's `"quick_gelu"` where [`VitaClipMLP`] takes the plain way: in steps of which torch keeps u = 1.702 h alone.

    torch.compile fuses the formula, and chooses itself what to keep.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return hidden_states * torch.sigmoid(SLOPE * hidden_states)
        return nn.functional.silu(SLOPE * hidden_states) / SLOPE
