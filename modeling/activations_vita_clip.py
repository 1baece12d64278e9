"""CLIP's MLP with fewer passes over its wide middle, and with half of what is kept for the backward pass."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.models.clip.modeling_clip import CLIPMLP

SLOPE = 1.702

# Bytes of the wide tensors from which tokens pass through an MLP in blocks, each of at least this size. Larger ones
# stay neither in the processor's caches nor in the memory that the C library keeps for the next one: the system takes
# them back and clears them anew, page by page. Measured at widths of 768 and 3072 in bfloat16: a third less time for
# 12,608 tokens in blocks of some 2,000, no gain for 3,152 in two.
BLOCK_BYTES = 12 * 2**20


class VitaClipMLP(CLIPMLP):
    """
    CLIP's W2 a(W1 x + b1) + b2, with a(h) = h sigmoid(1.702 h), `"quick_gelu"`.

    h is the largest tensor of a layer, four times the model's width. Written plainly, a reads and writes it three
    times, and torch keeps two of its size for the backward pass. With u = 1.702 h the activation is silu(u) / 1.702,
    because silu(u) = u sigmoid(u). Both factors can be given to the matrix products beside it, where they cost
    nothing:

        u = 1.702 W1 x + 1.702 b1,    W2 a(h) + b2 = (1 / 1.702) W2 silu(u) + b2

    so that silu is the only pass, and, W2 being frozen, u the only wide tensor that is kept.
    """

    def __init__(self, config):
        super().__init__(config)
        if config.hidden_act == "quick_gelu":
            self.activation_fn = QuickGELU()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(..., D)` -> the same."""
        if not self._scales_products(hidden_states):
            return super().forward(hidden_states)
        parameters = (self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        tokens, *weights = as_autocast(hidden_states.flatten(0, -2), *parameters)
        if torch.is_grad_enabled() and tokens.requires_grad:
            out, _ = _FrozenMLP.apply(tokens, *weights)
        else:
            width = self.fc1.out_features
            blocks = [_mlp(block, *weights) for (block,) in _blocks(width, tokens)]
            out = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return out.view_as(hidden_states)

    def _scales_products(self, hidden_states: torch.Tensor) -> bool:
        """
        On a CPU only: cuBLAS adds a bias within the product as long as nothing is scaled, and compilers fuse the plain
        form themselves. And not where weights are trained, or something else stands for one of the three steps, as
        with peft, quantized weights, offloading and hooks: called as modules, they are reached.
        """
        return (
            hidden_states.device.type == "cpu"
            and hidden_states.numel() > 0
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and type(self.activation_fn) is QuickGELU
            and all(_is_plain(step) for step in (self.fc1, self.fc2, self.activation_fn))
            and all(_has_plain_weights(layer) for layer in (self.fc1, self.fc2))
        )


def as_autocast(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors as `torch.autocast` gives them to a matrix product: cast once, for as many products as there are."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors]


def _blocks(width: int, *per_token: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Tensors `(N, ..)` side by side in blocks of tokens, for an MLP whose wide tensors are `(N, width)`."""
    num_tokens = len(per_token[0])
    count = max(1, num_tokens * width * per_token[0].element_size() // BLOCK_BYTES)
    return zip(*(tensor.tensor_split(count) for tensor in per_token), strict=True)


def _mlp(tokens, weight1, bias1, weight2, bias2, keep: torch.Tensor | None = None, out: torch.Tensor | None = None):
    """W2 a(W1 x + b1) + b2 of tokens `(N, D)`; u `(N, 4 D)` is left in `keep` where it is given."""
    scaled = torch.addmm(bias1, tokens, weight1.t(), alpha=SLOPE, beta=SLOPE, out=keep)
    activated = nn.functional.silu(scaled, inplace=keep is None)
    return torch.addmm(bias2, activated, weight2.t(), alpha=1 / SLOPE, out=out)


class _FrozenMLP(torch.autograd.Function):
    """
    [`VitaClipMLP`] on tokens that have a gradient, with weights that have none:

        dx = W1^T (silu'(u) * W2^T dy)

    in which 1.702, the slope of u, and 1 / 1.702, that of a, cancel. torch's own backward pass multiplies by both.
    """

    @staticmethod
    def forward(tokens, weight1, bias1, weight2, bias2) -> tuple[torch.Tensor, torch.Tensor]:
        """`(N, D)` -> the same, and u `(N, 4 D)`, which is kept."""
        out, scaled = torch.empty_like(tokens), tokens.new_empty(len(tokens), len(bias1))
        for block, keep, result in _blocks(len(bias1), tokens, scaled, out):
            _mlp(block, weight1, bias1, weight2, bias2, keep, result)
        return out, scaled

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, weight1, _, weight2, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1], weight1, weight2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor | None, _) -> tuple[torch.Tensor | None, ...]:
        if grad is None:  # zeros for u, which nobody asks for, are not made; so there may be none at all
            return (None,) * 5
        scaled, weight1, weight2 = ctx.saved_tensors
        result = torch.empty_like(grad)
        for block, kept, out in _blocks(len(weight1), grad, scaled, result):
            wide = torch.ops.aten.silu_backward(block @ weight2, kept)
            torch.mm(wide, weight1, out=out)
        return result, None, None, None, None


def _is_plain(module: nn.Module) -> bool:
    """Whether a call of the module is its class's forward() and nothing else."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "forward" not in vars(module) and not any(hooks)


def _has_plain_weights(layer: nn.Module) -> bool:
    """A linear layer with frozen weights in memory, of no type that has products of its own."""
    is_plain = type(layer.weight) in (nn.Parameter, torch.Tensor)  # the latter in replicas of DataParallel
    is_trained = torch.is_grad_enabled() and (layer.weight.requires_grad or layer.bias.requires_grad)
    return type(layer) is nn.Linear and is_plain and not is_trained and not layer.weight.is_meta


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
