"""Where a model looks: the attention of class and summary tokens to patches and to each kind of prompt."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..modeling.layers_vita_clip import PromptRows
from ..modeling.modeling_vita_clip import VitaClipModel

CLASS, PATCHES, SUMMARY, LOCAL, GLOBAL = "class token", "patches", "summary token", "local prompts", "global prompts"


@dataclass(frozen=True)
class AttentionMaps:
    """
    The weights of equation (5) of the vision side, in every layer, of one clip.

    Args:
        class_token: of the class token as query, `(layers, T, heads, keys)`; each row sums to 1.
        summary_token: of the summary token as query, of the same shape; `None` if the model has none. The model drops
            the output of this query, so these weights do not reach the video's embedding: they tell what the token's
            content resembles.
        rollout: the attention of the last layer's class token to the patches of its frame, followed back through the
            layers (Abnar and Zuidema, 2020), `(T, rows, columns)`; it sums to 1 in each frame.
        keys: the kind of each key with its number, in the order of the keys, such as `("patches", 196)`.
        grid: rows and columns of patches.
    """

    class_token: torch.Tensor
    summary_token: torch.Tensor | None
    rollout: torch.Tensor
    keys: tuple[tuple[str, int], ...]
    grid: tuple[int, int]

    def of_patches(self, weights: torch.Tensor) -> torch.Tensor:
        """The patches' weights, mean over heads: `(layers, T, heads, keys)` to `(layers, T, rows, columns)`."""
        start = self.keys[0][1]
        return weights[..., start : start + self.keys[1][1]].mean(dim=2).unflatten(-1, self.grid)

    def shares(self, weights: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of weights `(layers, T, heads, keys)` the share of each kind of key in each layer, `(layers,)`."""
        parts = weights.split([number for _, number in self.keys], dim=-1)
        return {kind: part.sum(-1).mean(dim=(1, 2)) for (kind, _), part in zip(self.keys, parts, strict=True)}


@torch.no_grad()
def attention_maps(model: VitaClipModel, pixel_values: torch.Tensor) -> AttentionMaps:
    """
    The attention weights that the model computes for a clip. They are those of `output_attentions=True` with the
    attention "eager", to which the model is set for the time of the call.

    Args:
        model: in evaluation mode.
        pixel_values: a normalised clip, `(T, 3, H, W)`.

    Raises:
        ValueError: `pixel_values` is not one clip, or the model is in training mode.
    """
    if pixel_values.ndim != 4:
        raise ValueError(f"Expected a clip of shape (frames, 3, height, width), found {tuple(pixel_values.shape)}.")
    if model.training:
        raise ValueError("The model is in training mode, where attention may drop weights: call model.eval() first.")
    summaries: list[torch.Tensor] = []
    with _eager_attention(model), _summary_queries(model, summaries.append):
        outputs = model.vision_model(
            pixel_values[None].to(model.device, model.dtype), all_tokens=True, output_attentions=True
        )
    weights = torch.stack(outputs.attentions).float().cpu()  # (layers, T, heads, tokens, keys)
    size, patch = pixel_values.shape[-2:], model.config.vision_config.patch_size
    rows, columns = size[0] // patch, size[1] // patch
    return AttentionMaps(
        class_token=weights[..., 0, :],
        summary_token=torch.stack(summaries).float().cpu() if summaries else None,
        rollout=_roll_out(weights.mean(dim=2)).unflatten(-1, (rows, columns)),
        keys=_keys(model, rows * columns, len(pixel_values)),
        grid=(rows, columns),
    )


def _keys(model: VitaClipModel, num_patches: int, num_frames: int) -> tuple[tuple[str, int], ...]:
    """Which keys stand where: the tokens, then the prompts in the order of `VisualPrompts.forward`."""
    config = model.config.vision_config
    prompts = [
        (SUMMARY, 1, config.use_summary_token),
        (LOCAL, num_frames, config.use_local_prompts),
        (GLOBAL, config.num_global_prompts, config.use_global_prompts),
    ]
    return ((CLASS, 1), (PATCHES, num_patches), *((kind, number) for kind, number, is_used in prompts if is_used))


def _roll_out(weights: torch.Tensor) -> torch.Tensor:
    """
    Weights `(layers, T, tokens, keys)` to the share of each patch in the last class token, `(T, patches)`. Half of
    each layer's output is its input by the residual; prompts, which begin anew in every layer, are left out.
    """
    num_tokens = weights.shape[-2]
    identity = torch.eye(num_tokens)
    reached = identity.expand(weights.shape[1], -1, -1)
    for layer in weights[..., :num_tokens]:
        layer = layer / layer.sum(dim=-1, keepdim=True)
        reached = (layer + identity) / 2 @ reached
    patches = reached[:, 0, 1:]
    return patches / patches.sum(dim=-1, keepdim=True)


@contextmanager
def _eager_attention(model: VitaClipModel) -> Iterator[None]:
    """The one attention that gives its weights, for a while."""
    before = model.config.vision_config._attn_implementation
    model.set_attn_implementation({"vision_config": "eager"})
    try:
        yield
    finally:
        model.set_attn_implementation({"vision_config": before})


@contextmanager
def _summary_queries(model: VitaClipModel, record: Callable[[torch.Tensor], Any]) -> Iterator[None]:
    """In each layer lets the summary token ask too, and records its weights, `(T, heads, keys)`."""

    def ask(attention: Any, args: tuple, kwargs: dict[str, Any], _: Any) -> None:
        prompts: PromptRows = kwargs["prompts"]
        summary = prompts.rows[: prompts.groups[0].numel()][:, None]  # (T, 1, D)
        settings = {**kwargs, "prompts": prompts}
        _, weights = attention.forward(summary, *args[1:], **settings)
        record(weights[:, :, 0])

    with ExitStack() as hooks:
        if model.config.use_summary_token:
            for layer in model.vision_model.encoder.layers:
                hook = layer.self_attn.register_forward_hook(ask, with_kwargs=True)
                hooks.callback(hook.remove)
        yield
