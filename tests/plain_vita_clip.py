"""The oracle: Vita-CLIP written down equation by equation, in plain torch, with no shortcut anywhere.

Every token goes through every layer, prompts are concatenated to every frame in every layer and their useless
queries are computed, and every class is encoded at all 77 text positions. It is what the real model's outputs are
compared with, and what its speed is measured against. Parameter names are those of the released checkpoints, so
golden files load straight into it.

The paper is Wasim et al., "Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting", CVPR 2023
(arXiv 2304.03307); its symbols are used below: B clips, T frames, N patches per frame, D vision width, D_t text
width, D' joint width, M_v global prompts, M_c text prompts, C classes.

The steps that comments refer to:

    V0    tokens of frame t: [cls, patches] + spatial position + e_t, then the pre-layernorm
    V1    c_t = cls_proj(z_t,0)
    V2    S = c + MHSA(LN(c)) over the T frames of the clip; frame t receives s_t
    V3    l_hat_t = l_t + c_t; all T of them go to every frame
    V4    G, M_v global prompts of this layer, the same for every frame
    V5    z <- z + MHSA(LN1([z_t, s_t, G, l_hat_1..T])), the extra tokens dropped afterwards
    V6    z <- z + MLP(LN2(z)), on the real tokens only
    V7    post-layernorm and projection of each frame's cls token, then the mean over frames
    T1    [SOS, ctx_1..ctx_Mc, name, ".", EOS, padding] + position
    T2    causal transformer
    T3    final layernorm and projection of the EOS position
    L1    logits = exp(logit_scale) cos(v, c)
    L2    cross-entropy over the classes
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

VOCAB_SIZE = 49408
TEXT_POSITIONS = 77
SOS, EOS, PLACEHOLDER, PERIOD = 49406, 49407, 343, 269  # of CLIP's vocabulary; the placeholder is "x"
DERIVED_KEYS = ("prompt_learner.token_prefix", "prompt_learner.token_suffix")  # stored by the authors, recomputed here
LEARNED_PARTS = ("time_embed", "global_prompts", "local_prompts", "summary_", "prompt_learner.ctx", "logit_scale")


@dataclass(frozen=True)
class PlainConfig:
    """Sizes and switches, under the names that golden files use. Defaults: ViT-B/16 and the paper's full model."""

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    hidden_size: int = 768
    num_heads: int = 12
    num_layers: int = 12
    embed_dim: int = 512
    text_hidden_size: int = 512
    text_heads: int = 8
    text_layers: int = 12
    use_summary_token: bool = True
    use_local_prompts: bool = True
    use_global_prompts: bool = True
    num_global_prompts: int = 8
    text_num_prompts: int = 8
    text_prompt_CSC: bool = True  # noqa: N815 - class-specific contexts (else unified), the released code's name
    text_prompt_pos: str = "end"  # place of the class name: "end", "front" or "middle"
    num_classes: int = 400

    @classmethod
    def from_golden(cls, config: dict[str, Any]) -> "PlainConfig":
        """From a golden file's `config`, where a switch that is absent is off."""
        switches_off = {"use_summary_token": False, "use_local_prompts": False, "use_global_prompts": False}
        values = {**switches_off, **config, "num_classes": len(config["classes"])}
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """CLIP's activation."""
    return x * torch.sigmoid(1.702 * x)


def softmax_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Multi-head softmax(Q K^T / sqrt(d) + mask) V on (batch, tokens, width), heads split off the width."""
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # (batch, heads, queries, keys)
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(-2)


class VisionAttention(nn.Module):
    """Multi-head self-attention with separate projections, as `visual.blocks.*.attn` stores it."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, width) -> the same shape."""
        return self.out_proj(softmax_attention(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.num_heads))


class VisionMlp(nn.Module):
    """CLIP's two-layer perceptron, as `visual.blocks.*.mlp` stores it."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(quick_gelu(self.fc1(x)))


class PatchEmbed(nn.Module):
    """Non-overlapping patches through a linear map, with the bias that the released checkpoints have."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.hidden_size, kernel_size=size, stride=size)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(B*T, 3, H, W) -> (B*T, N, D)."""
        return self.proj(frames).flatten(2).transpose(1, 2)


def at_frame_count(per_frame: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(T, D) -> (num_frames, D), resampled along time by the nearest neighbour; unchanged when the count is equal."""
    if per_frame.shape[0] == num_frames:
        return per_frame
    return F.interpolate(per_frame.T[None], size=num_frames, mode="nearest")[0].T


class VisionBlock(nn.Module):
    """One frozen CLIP layer with this layer's summary token and local prompts (global prompts come from outside)."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.norm1 = nn.LayerNorm(width)
        self.attn = VisionAttention(width, config.num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = VisionMlp(width)
        if config.use_summary_token or config.use_local_prompts:
            self.cls_proj = nn.Linear(width, width)
        if config.use_summary_token:
            self.summary_ln = nn.LayerNorm(width)
            self.summary_attn_layer = VisionAttention(width, config.num_heads)
        if config.use_local_prompts:
            self.local_prompts = nn.Parameter(torch.zeros(1, config.num_frames, width))

    def forward(self, z: torch.Tensor, global_prompts: torch.Tensor | None, num_frames: int) -> torch.Tensor:
        """z (B*T, 1+N, D), global prompts (M_v, D) -> (B*T, 1+N, D)."""
        num_real = z.shape[1]
        tokens = torch.cat([z, *self.extra_tokens(z, global_prompts, num_frames)], dim=1)  # [z_t, s_t, G, l_hat_1..T]
        tokens = tokens + self.attn(self.norm1(tokens))  # V5
        z = tokens[:, :num_real]  # V5: the extra tokens are dropped
        return z + self.mlp(self.norm2(z))  # V6

    def extra_tokens(
        self, z: torch.Tensor, global_prompts: torch.Tensor | None, num_frames: int
    ) -> list[torch.Tensor]:
        """The tokens that this layer appends to every frame, each (B*T, count, D)."""
        extra = []
        if self.config.use_summary_token or self.config.use_local_prompts:
            c = self.cls_proj(z[:, 0]).unflatten(0, (-1, num_frames))  # V1: (B, T, D)
        if self.config.use_summary_token:
            summary = c + self.summary_attn_layer(self.summary_ln(c))  # V2: (B, T, D)
            extra.append(summary.flatten(0, 1)[:, None])  # V2: one token, its own, to each frame
        if global_prompts is not None:
            extra.append(global_prompts.expand(z.shape[0], -1, -1))  # V4
        if self.config.use_local_prompts:
            local = at_frame_count(self.local_prompts[0], num_frames) + c  # V3: (B, T, D)
            extra.append(local.repeat_interleave(num_frames, dim=0))  # V3: all T of a clip to each of its frames
        return extra


class VisionTower(nn.Module):
    """`visual.*`: clips to video features."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        num_patches = (config.image_size // config.patch_size) ** 2
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.pos_embed = nn.Parameter(torch.zeros(num_patches + 1, width))
        self.time_embed = nn.Parameter(torch.zeros(config.num_frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.num_layers))
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, config.embed_dim))
        if config.use_global_prompts:
            self.global_prompts = nn.Parameter(torch.zeros(config.num_layers, config.num_global_prompts, width))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) -> (B, D'), not normalised."""
        num_clips, num_frames = pixel_values.shape[0], pixel_values.shape[2]
        z = self.embed(pixel_values)
        for layer, block in enumerate(self.blocks):
            global_prompts = self.global_prompts[layer] if self.config.use_global_prompts else None
            z = block(z, global_prompts, num_frames)
        frame_features = self.ln_post(z[:, 0]) @ self.proj  # V7: (B*T, D')
        return frame_features.unflatten(0, (num_clips, num_frames)).mean(dim=1)  # V7

    def embed(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) -> (B*T, 1+N, D): the tokens that enter the first layer."""
        num_clips, num_frames = pixel_values.shape[0], pixel_values.shape[2]
        frames = pixel_values.transpose(1, 2).flatten(0, 1)  # (B*T, 3, H, W)
        patches = self.patch_embed(frames)
        z = torch.cat([self.cls_token.expand(len(frames), 1, -1), patches], dim=1) + self.pos_embed  # V0
        time = at_frame_count(self.time_embed, num_frames)
        z = z + time.repeat(num_clips, 1)[:, None]  # V0: e_t, the same for every token of frame t
        return self.ln_pre(z)  # V0


class TextAttention(nn.Module):
    """Causal multi-head self-attention with one stacked projection, as `textual.*.attn` stores it."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(C, 77, D_t) -> the same shape; position i sees positions up to i."""
        query, key, value = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        length = x.shape[1]
        causal = torch.full((length, length), -math.inf, device=x.device, dtype=x.dtype).triu(1)
        return self.out_proj(softmax_attention(query, key, value, self.num_heads, causal))


class TextMlp(nn.Module):
    """CLIP's two-layer perceptron, as `textual.*.mlp` stores it."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(quick_gelu(self.c_fc(x)))


class TextBlock(nn.Module):
    """One layer of CLIP's text transformer."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = TextAttention(width, num_heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = TextMlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    """The layers, under the extra level of names that CLIP gave them."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        self.resblocks = nn.ModuleList(
            TextBlock(config.text_hidden_size, config.text_heads) for _ in range(config.text_layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class TextTower(nn.Module):
    """`textual.*`: prompts as embeddings to text features."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        width = config.text_hidden_size
        self.token_embedding = nn.Embedding(VOCAB_SIZE, width)
        self.positional_embedding = nn.Parameter(torch.zeros(TEXT_POSITIONS, width))
        self.transformer = TextTransformer(config)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, config.embed_dim))

    def forward(self, prompts: torch.Tensor, eos_position: torch.Tensor) -> torch.Tensor:
        """prompts (C, 77, D_t), eos_position (C,) -> (C, D'), not normalised."""
        x = self.transformer(prompts + self.positional_embedding)  # T1, T2
        x = self.ln_final(x)  # T3
        return x[torch.arange(len(x)), eos_position] @ self.text_projection  # T3


class PromptLearner(nn.Module):
    """`prompt_learner.ctx`: puts the learned contexts where the placeholders stand (T1)."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        self.position = config.text_prompt_pos
        self.num_prompts = config.text_num_prompts
        per_class = (config.num_classes,) if config.text_prompt_CSC else ()
        self.ctx = nn.Parameter(torch.zeros(*per_class, config.text_num_prompts, config.text_hidden_size))

    def forward(self, embedded: torch.Tensor, eos_position: torch.Tensor) -> torch.Tensor:
        """Embeddings of [SOS, X * M_c, name, ".", EOS, padding] (C, 77, D_t) -> contexts in place, same shape."""
        contexts = self.ctx.expand(len(embedded), -1, -1)  # unified contexts serve every class
        rows = zip(embedded, contexts, eos_position.tolist(), strict=True)
        return torch.stack([self.one_prompt(*row) for row in rows])

    def one_prompt(self, embedded: torch.Tensor, ctx: torch.Tensor, eos_position: int) -> torch.Tensor:
        """One class: (77, D_t), (M_c, D_t) -> (77, D_t). The "." and EOS follow the last context or name token."""
        name_start, name_end = 1 + self.num_prompts, eos_position - 1  # the token before EOS is "."
        sos, name, rest = embedded[:1], embedded[name_start:name_end], embedded[name_end:]
        half = self.num_prompts // 2
        parts = {
            "end": (sos, ctx, name, rest),
            "front": (sos, name, ctx, rest),
            "middle": (sos, ctx[:half], name, ctx[half:], rest),
        }
        return torch.cat(parts[self.position])


class PlainVitaClip(nn.Module):
    """The whole model. `state_dict()` has the released checkpoint's names."""

    def __init__(self, config: PlainConfig):
        super().__init__()
        self.config = config
        self.visual = VisionTower(config)
        self.textual = TextTower(config)
        self.prompt_learner = PromptLearner(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pixel_values: torch.Tensor, tokenized_prompts: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W), (C, 77) -> logits (B, C)."""
        return self.logits(self.visual(pixel_values), self.text_features(tokenized_prompts))

    def text_features(self, tokenized_prompts: torch.Tensor) -> torch.Tensor:
        """Token ids of [SOS, X * M_c, name, ".", EOS, padding] (C, 77) -> (C, D'), with the learned contexts."""
        eos_position = tokenized_prompts.argmax(dim=-1)  # EOS is the last id of the vocabulary
        embedded = self.textual.token_embedding(tokenized_prompts)
        return self.textual(self.prompt_learner(embedded, eos_position), eos_position)

    def logits(self, video_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        """(B, D'), (C, D') -> (B, C)."""
        video = video_features / video_features.norm(dim=-1, keepdim=True)
        text = text_features / text_features.norm(dim=-1, keepdim=True)
        return self.logit_scale.exp() * video @ text.T  # L1

    def loss(self, pixel_values: torch.Tensor, tokenized_prompts: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, a scalar."""
        return F.cross_entropy(self(pixel_values, tokenized_prompts), labels)  # L2

    def load_released(self, state: dict[str, torch.Tensor]) -> None:
        """Load a released checkpoint's `model` entry: `module.` stripped, derived tensors left out."""
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        self.load_state_dict({name: tensor for name, tensor in state.items() if name not in DERIVED_KEYS})

    def freeze(self, train_cls_proj: bool = False) -> None:
        """Leave gradients to the prompts only; the released code freezes `cls_proj` too, the paper trains it."""
        learned = (*LEARNED_PARTS, "cls_proj") if train_cls_proj else LEARNED_PARTS
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(any(part in name for part in learned))


def plain_from_golden(config: dict[str, Any], state: dict[str, torch.Tensor]) -> PlainVitaClip:
    """The oracle with a golden file's weights, trainable where the released code trains."""
    model = PlainVitaClip(PlainConfig.from_golden(config))
    model.load_released(state)
    model.freeze()
    return model


def build_plain(*, seed: int = 0, train_cls_proj: bool = True, **sizes: Any) -> PlainVitaClip:
    """The oracle with random weights; `sizes` are fields of `PlainConfig`, by default ViT-B/16 with 400 classes.

    Prompts are initialised as the paper and the released code do. What comes from a CLIP checkpoint in a real run
    is drawn from N(0, 0.02) here, which keeps activations at a sane scale: it serves benchmarks and comparisons
    of two implementations on the same weights, not accuracy.
    """
    model = PlainVitaClip(PlainConfig(**sizes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _initialise(name, parameter, model.config, generator)
    model.freeze(train_cls_proj)
    return model


def _initialise(name: str, parameter: torch.Tensor, config: PlainConfig, generator: torch.Generator) -> None:
    """One parameter, in place, by its name."""
    if name == "logit_scale":
        return  # a constant, set at construction
    if name.endswith(("global_prompts", "local_prompts")):
        bound = math.sqrt(6 / (3 * config.patch_size**2 + config.hidden_size))
        parameter.uniform_(-bound, bound, generator=generator)
    elif name.endswith("weight") and ("cls_proj" in name or "summary_attn_layer" in name):
        bound = 1 / math.sqrt(parameter.shape[1])  # the default of nn.Linear
        parameter.uniform_(-bound, bound, generator=generator)
    elif name.endswith("bias"):
        parameter.zero_()
    elif parameter.ndim == 1 and "cls_token" not in name:
        parameter.fill_(1)  # layernorm weights
    else:
        parameter.normal_(0, 0.02, generator=generator)


def random_prompts(num_classes: int, num_prompts: int, *, longest_name: int = 6, seed: int = 0) -> torch.Tensor:
    """Token ids (num_classes, 77) of made-up class names of 1 to `longest_name` tokens, laid out as real ones are."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(num_classes, TEXT_POSITIONS, dtype=torch.long)
    lengths = torch.randint(1, longest_name + 1, (num_classes,), generator=generator).tolist()
    for row, length in zip(ids, lengths, strict=True):
        name = torch.randint(320, SOS, (length,), generator=generator).tolist()
        prompt = [SOS, *[PLACEHOLDER] * num_prompts, *name, PERIOD, EOS]
        row[: len(prompt)] = torch.tensor(prompt)
    return ids
