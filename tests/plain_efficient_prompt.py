"""Efficient-Prompt by its equations, one class and one frame at a time, on the tensors of an original checkpoint."""

import torch
from torch.nn import functional

Tensors = dict[str, torch.Tensor]


def _norm(state: Tensors, name: str, tokens: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(tokens, tokens.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def _block(state: Tensors, name: str, tokens: torch.Tensor, heads: int, causal: bool) -> torch.Tensor:
    """A pre-norm layer on one sequence, `(S, D)`."""
    length, width = tokens.shape
    mask = torch.full((length, length), float("-inf")).triu(1) if causal else None
    normed = _norm(state, f"{name}.ln_1", tokens)[:, None]
    attended, _ = functional.multi_head_attention_forward(
        *(normed, normed, normed, width, heads),
        in_proj_weight=state[f"{name}.attn.in_proj_weight"],
        in_proj_bias=state[f"{name}.attn.in_proj_bias"],
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=state[f"{name}.attn.out_proj.weight"],
        out_proj_bias=state[f"{name}.attn.out_proj.bias"],
        attn_mask=mask,
    )
    tokens = tokens + attended[:, 0]
    hidden = functional.linear(
        _norm(state, f"{name}.ln_2", tokens), state[f"{name}.mlp.c_fc.weight"], state[f"{name}.mlp.c_fc.bias"]
    )
    hidden = hidden * torch.sigmoid(1.702 * hidden)
    return tokens + functional.linear(hidden, state[f"{name}.mlp.c_proj.weight"], state[f"{name}.mlp.c_proj.bias"])


def _blocks(state: Tensors, name: str, tokens: torch.Tensor, heads: int, causal: bool = False) -> torch.Tensor:
    number = 0
    while f"{name}.resblocks.{number}.ln_1.weight" in state:
        tokens = _block(state, f"{name}.resblocks.{number}", tokens, heads, causal)
        number += 1
    return tokens


def plain_text_features(state: Tensors, names: list[list[int]], prefix: int, suffix: int, heads: int) -> torch.Tensor:
    """`(C, D')`, not normalised, of names with start and end token: each sequence of 77 filled place by place."""
    features = []
    embedding, table = state["clipmodel.token_embedding.weight"], state["embedding.weight"]
    for start, *name, end in names:
        sequence = embedding[torch.zeros(len(table), dtype=torch.long)].clone()
        sequence[0] = embedding[start]
        for place in range(1, prefix + 1):
            sequence[place] = table[place]
        for index, token in enumerate(name):
            sequence[prefix + 1 + index] = embedding[token]
        behind = prefix + len(name) + 1
        for place in range(behind, behind + suffix):
            sequence[place] = table[place]
        sequence[behind + suffix] = embedding[end]
        hidden = sequence + state["clipmodel.positional_embedding"]
        hidden = _blocks(state, "clipmodel.transformer", hidden, heads, causal=True)
        end_token = _norm(state, "clipmodel.ln_final", hidden)[behind + suffix]
        features.append(end_token @ state["clipmodel.text_projection"])
    return torch.stack(features)


def plain_video_features(
    state: Tensors, clips: torch.Tensor, heads: int, temporal_heads: int, temporal_layers: int
) -> torch.Tensor:
    """`(B, T, 3, H, W)` -> `(B, D')`, not normalised."""
    features = []
    for clip in clips:
        frames = torch.stack([_frame_feature(state, frame, heads) for frame in clip])
        if temporal_layers:
            frames = frames + state["temporalEmbedding.weight"]
            frames = _blocks(state, "temporalModelling", frames, temporal_heads)
        features.append(frames.mean(0))
    return torch.stack(features)


def _frame_feature(state: Tensors, frame: torch.Tensor, heads: int) -> torch.Tensor:
    kernel = state["clipmodel.visual.conv1.weight"]
    patches = functional.conv2d(frame[None], kernel, stride=kernel.shape[-1])[0].flatten(1).t()
    tokens = torch.cat([state["clipmodel.visual.class_embedding"][None], patches])
    tokens = _norm(state, "clipmodel.visual.ln_pre", tokens + state["clipmodel.visual.positional_embedding"])
    tokens = _blocks(state, "clipmodel.visual.transformer", tokens, heads)
    return _norm(state, "clipmodel.visual.ln_post", tokens[0]) @ state["clipmodel.visual.proj"]
