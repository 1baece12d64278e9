"""
The text side of Vita-CLIP: learned contexts around class names, and CLIP's text transformer without padding.

A class is the sequence `[SOS, ctx_1..ctx_Mc, name, ".", EOS]` (or as `text_prompt_position` says), of which CLIP's
frozen transformer is read at EOS. Its attention is causal: a token is computed from itself and those before it. Three
shortcuts follow, and none changes a result:

* Texts are cut after the longest, and classes of similar length are encoded together ([`encode_classes`]).
* The last layer is computed for the end tokens alone.
* A beginning that all classes share, [SOS, ctx_1..ctx_Mc] of unified contexts before the names, is the same for all of
  them in every layer. It is encoded once, and its tokens serve each class as keys and values.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPPreTrainedModel, CLIPTextEmbeddings, CLIPTextModel
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_vita_clip import VitaClipTextConfig
from .layers_vita_clip import (
    PROMPT_STD,
    LearnedPrompts,
    PromptRows,
    VitaClipAttention,
    VitaClipEncoderLayer,
    VitaClipPreTrainedModel,
    in_graph,
    read_tokens,
)

# The attention backends whose masks are tensors over queries and keys, which can be cut and put together.
TENSOR_MASK_BACKENDS = ("eager", "sdpa")
# The fixed cost of one more group of classes, in tokens of text of equal encoding time. It is the time to launch every
# operation once more: large on a fast device, small on a CPU. Both are estimates; results do not depend on them.
GROUP_COST_ON_CPU, GROUP_COST_ELSEWHERE = 256, 8192


# ---- contexts and class names ----


@dataclass(frozen=True)
class ClassLayout:
    """
    The places of contexts and own tokens in the sequences of C classes, with M_c contexts and at most S_n own tokens.

    Args:
        input_ids: `(C, S_n)`: own tokens, padded with the end token.
        order: `(C, M_c + S_n)`: for each place, which of `[ctx_1..ctx_Mc, own tokens]` stands there.
        end_positions: `(C, 1)`: the place of the end token.
        lengths: of the C sequences, known without waiting for the device.
        num_shared_tokens: the number of leading tokens that all sequences share, or 0 if that is at most the start
            token.
    """

    input_ids: torch.Tensor
    order: torch.Tensor
    end_positions: torch.Tensor
    lengths: list[int]
    num_shared_tokens: int


class ClassPrompts(LearnedPrompts):
    """
    The learned contexts of the class names, and the layout of the model's own classes.

    Args:
        config: the text half of the configuration.
        label_token_ids: the tokens of `"name."` of each class, with start and end token. `None`: no classes; unified
            contexts exist all the same.
        label_names: for messages.

    Raises:
        ValueError: a class does not fit into CLIP's context together with its prompts.
    """

    def __init__(
        self,
        config: VitaClipTextConfig,
        label_token_ids: list[list[int]] | None,
        label_names: list[str] | None = None,
    ):
        super().__init__()
        self.config = config
        self.label_token_ids = label_token_ids or []
        self._check_lengths(label_names)
        if self.num_contexts_rows:
            shape: tuple[int, ...] = (config.text_prompt_length, config.hidden_size)
            if config.text_prompt_scope == "class":
                shape = (len(self.label_token_ids), *shape)
            self.contexts = nn.Parameter(torch.empty(shape))
        for name, tensor in self._layout_tensors(self.label_token_ids).items():
            self.register_buffer(name, tensor, persistent=False)

    def init_prompts(self) -> None:
        """Contexts from N(0, 0.02), and the layout of the classes."""
        for name, tensor in self._layout_tensors(self.label_token_ids).items():
            init.copy_(getattr(self, name), tensor)
        if self.num_contexts_rows:
            init.normal_(self.contexts, std=PROMPT_STD)

    @property
    def num_contexts_rows(self) -> int:
        """The number of sets of contexts: one for each class, or one."""
        if self.config.text_prompt_length == 0:
            return 0
        return len(self.label_token_ids) if self.config.text_prompt_scope == "class" else 1

    def _check_lengths(self, label_names: list[str] | None) -> None:
        limit, contexts = self.config.max_position_embeddings, self.config.text_prompt_length
        for index, ids in enumerate(self.label_token_ids):
            if len(ids) + contexts > limit:
                name = repr(label_names[index]) if label_names else f"number {index}"
                raise ValueError(
                    f"Class {name} is {len(ids)} tokens long; with {contexts} context vectors that makes "
                    f"{len(ids) + contexts}, and the text encoder takes {limit}. Shorten the name or "
                    "text_prompt_length."
                )

    def layout(self, label_token_ids: list[list[int]] | None = None) -> ClassLayout:
        """The layout of the model's own classes, or of others, which need unified contexts (or none)."""
        classes = self.label_token_ids if label_token_ids is None else label_token_ids
        tensors = [self.input_ids, self.order, self.end_positions]
        if label_token_ids is not None:
            tensors = [tensor.to(self.input_ids.device) for tensor in self._layout_tensors(classes).values()]
        lengths = [self.config.text_prompt_length + len(ids) for ids in classes]
        return ClassLayout(tensors[0], tensors[1], tensors[2], lengths, self._count_shared_tokens(classes))

    def _layout_tensors(self, classes: list[list[int]]) -> dict[str, torch.Tensor]:
        """The tensors of a [`ClassLayout`], in its order."""
        contexts = self.config.text_prompt_length
        longest = max((len(ids) for ids in classes), default=0)
        padded = [ids + [ids[-1]] * (longest - len(ids)) for ids in classes]
        orders = [self._order(len(ids), longest) for ids in classes]
        ends = [[contexts + len(ids) - 1] for ids in classes]
        return {
            "input_ids": torch.tensor(padded, dtype=torch.long).view(len(classes), longest),
            "order": torch.tensor(orders, dtype=torch.long).view(len(classes), contexts + longest),
            "end_positions": torch.tensor(ends, dtype=torch.long).view(len(classes), 1),
        }

    def _order(self, num_tokens: int, longest: int) -> list[int]:
        """
        For each place in a class's sequence, the index of its token in
        `[ctx_1..ctx_Mc, SOS, name.., ".", EOS, padding..]`.
        """
        contexts = list(range(self.config.text_prompt_length))
        start, *rest = range(len(contexts), len(contexts) + longest)
        name, tail = rest[: num_tokens - 3], rest[num_tokens - 3 :]
        before = self._contexts_before_name
        return [start, *contexts[:before], *name, *contexts[before:], *tail]

    @property
    def _contexts_before_name(self) -> int:
        contexts = self.config.text_prompt_length
        return {"end": contexts, "front": 0, "middle": contexts // 2}[self.config.text_prompt_position]

    def _count_shared_tokens(self, classes: list[list[int]]) -> int:
        if self.config.text_prompt_scope != "unified" or self._contexts_before_name == 0:
            return 0
        return 1 + self._contexts_before_name if len({ids[0] for ids in classes}) == 1 else 0

    def forward(self, tokens: torch.Tensor, classes: slice | torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """
        Puts contexts and tokens in their places.

        Args:
            tokens: CLIP's embeddings of the classes' own tokens, `(C, S_n, D_t)`. They come in place of ids and the
                embedding because accelerate moves a module's inputs to its device, and cannot move a module whose
                weights are offloaded.
            classes: the classes' numbers.
            order: of these classes, see [`ClassLayout`].

        Returns:
            `(C, M_c + S_n, D_t)`.
        """
        if self.config.text_prompt_length == 0:
            return tokens
        per_class = self.config.text_prompt_scope == "class"
        contexts = self.contexts[classes] if per_class else self.contexts.expand(tokens.shape[0], -1, -1)
        parts = torch.cat([contexts.to(tokens.dtype), tokens], dim=1)
        return parts.take_along_dim(order[:, : parts.shape[1], None], dim=1)


# ---- the tower ----


class VitaClipTextLayer(VitaClipEncoderLayer):
    """CLIP's text layer. Tokens of a beginning that all texts share may be passed apart: as keys and values."""

    def forward(  # type: ignore[override]  # reentrant checkpointing sees tensors only
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        shared_tokens: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """As [`VitaClipEncoderLayer`]; `shared_tokens`, `(1, P, D_t)`, are keys and values behind each text's own."""
        prompts = None
        if shared_tokens is not None:
            group, batch = torch.Size((1, 1, shared_tokens.shape[1])), torch.Size((len(hidden_states), 1))
            prompts = PromptRows(shared_tokens[0], [group], batch)
        return super().forward(hidden_states, attention_mask, prompts, **kwargs)


class VitaClipTextEncoder(CLIPEncoder):
    """CLIP's encoder, whose last layer is computed for the end tokens alone."""

    def __init__(self, config: VitaClipTextConfig):
        nn.Module.__init__(self)
        self.config = config
        self.layers = nn.ModuleList([VitaClipTextLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: torch.Tensor,
        end_positions: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        all_tokens: bool = False,
        num_shared_tokens: int = 0,
        **kwargs,
    ) -> torch.Tensor:
        """
        `(N, S, D_t)` -> `(N, 1, D_t)`, the end tokens, or the whole with `all_tokens`. The first `num_shared_tokens`,
        the same in all texts, are computed once if [`can_share_beginning`].
        """
        kwargs.pop("is_causal", None)  # transformers passes the caller's or the config's; this sets its own
        plain = all_tokens or attention_mask is not None
        if num_shared_tokens and not plain and self.can_share_beginning(len(hidden_states)):
            return self._encode_beside_shared(hidden_states, end_positions, num_shared_tokens, **kwargs)
        mask = create_causal_mask(self.config, hidden_states, attention_mask, None)
        for layer in self.layers[: None if all_tokens else -1]:
            hidden_states = layer(hidden_states, mask, is_causal=True, **kwargs)
        if all_tokens:
            return hidden_states
        # The end token sees itself and all before it; padding stands after it.
        places = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        seen = (places <= end_positions).to(torch.long)
        if attention_mask is not None:
            seen = seen * attention_mask
        mask = create_bidirectional_mask(self.config, hidden_states[:, :1], seen, encoder_hidden_states=hidden_states)
        return self.layers[-1](hidden_states, mask, read_position=end_positions, is_causal=False, **kwargs)

    def can_share_beginning(self, num_texts: int) -> bool:
        """
        Whether a shared beginning can be computed once: masks are tensors, no dropout differs between texts, and no
        graph of fixed sizes is recorded.
        """
        drops = self.training and self.config.attention_dropout > 0
        takes_mask = self.config._attn_implementation in TENSOR_MASK_BACKENDS
        return num_texts > 1 and takes_mask and not drops and not in_graph()

    def _encode_beside_shared(
        self, hidden_states: torch.Tensor, end_positions: torch.Tensor, num_shared_tokens: int, **kwargs
    ) -> torch.Tensor:
        """`(N, P + S, D_t)`, of which the first P tokens are shared, -> the end tokens `(N, 1, D_t)`."""
        shared, own = hidden_states[:1, :num_shared_tokens], hidden_states[:, num_shared_tokens:]
        mask = create_causal_mask(self.config, hidden_states[:1], None, None, allow_is_causal_skip=False)
        shared_mask = mask[..., :num_shared_tokens, :num_shared_tokens]
        # A text's own tokens see all shared ones. As keys the shared tokens stand behind them: (1, 1, S, S + P).
        own_mask = mask[..., num_shared_tokens:, :].roll(-num_shared_tokens, dims=-1)
        for layer in self.layers[:-1]:
            # Both read the shared tokens as they enter the layer.
            own = layer(own, own_mask, shared, is_causal=False, **kwargs)
            shared = layer(shared, shared_mask, is_causal=False, **kwargs)
        end_positions = end_positions - num_shared_tokens
        end_mask = own_mask[0, 0, end_positions[:, 0]][:, None, None]  # (N, 1, 1, S + P)
        return self.layers[-1](own, end_mask, shared, read_position=end_positions, is_causal=False, **kwargs)


class VitaClipTextModel(VitaClipPreTrainedModel, CLIPTextModel):
    """CLIP's text model, which also takes embeddings, and computes no more positions than are read."""

    config: VitaClipTextConfig
    base_model_prefix = "text_model"  # of its weights in a whole model, from which it can be loaded alone
    _can_record_outputs = {  # noqa: RUF012 - a class variable by transformers' contract
        "hidden_states": VitaClipEncoderLayer,
        "attentions": OutputRecorder(VitaClipAttention, 1, "self_attn"),
    }

    def __init__(self, config: VitaClipTextConfig):
        CLIPPreTrainedModel.__init__(self, config)
        self.embeddings = CLIPTextEmbeddings(config)
        self.encoder = VitaClipTextEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.eos_token_id = config.eos_token_id
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
        all_tokens: bool = False,
        num_shared_tokens: int = 0,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        """
        Args:
            input_ids: `(N, S)`, as CLIP's tokenizer gives them.
            attention_mask: `(N, S)`, 1 for real tokens. Padding on the right, CLIP's habit, needs none. One of queries
                and keys, `(N, 1, S, S)`, is taken with `all_tokens` alone.
            position_ids: `(N, S)` or `(1, S)`.
            inputs_embeds: token embeddings `(N, S, D_t)` in place of `input_ids`, with `end_positions`.
            end_positions: the place of the end token, `(N, 1)`; found in `input_ids` if not given.
            all_tokens: computes the last layer for all positions, which the model itself does not read.
            num_shared_tokens: the number of tokens with which all of `inputs_embeds` begin alike. They may be computed
                once; if states or attentions of each text are recorded, they are not.

        Returns:
            `last_hidden_state` `(N, 1, D_t)`, or `(N, S, D_t)` with `all_tokens`, and `pooler_output` `(N, D_t)`, the
            end token, both after the final layer norm. S is the longest text's length if lengths can be read.

        Raises:
            ValueError: not one of `input_ids` and `inputs_embeds`, the latter without `end_positions`, or an
                `attention_mask` of another shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either input_ids or inputs_embeds, and not both.")
        if attention_mask is not None and attention_mask.ndim != 2 and not all_tokens:
            raise ValueError(
                f"attention_mask must be (texts, tokens); found {tuple(attention_mask.shape)}. A mask of queries and "
                "keys needs all_tokens=True: without it texts are cut, and the last layer has one query."
            )
        if input_ids is not None:
            input_ids = input_ids.view(-1, input_ids.shape[-1])
            if end_positions is None:
                end_positions = self.find_end_positions(input_ids)
            if not all_tokens:
                input_ids, attention_mask, position_ids = trim_texts(
                    end_positions, input_ids, attention_mask, position_ids
                )
        elif end_positions is None:
            raise ValueError("inputs_embeds need end_positions, the place of each text's end token.")
        flags = [f"output_{name}" for name in self._can_record_outputs]
        if any(kwargs.get(flag, getattr(self.config, flag, False)) for flag in flags):
            num_shared_tokens = 0
        hidden_states = self.embeddings(input_ids, position_ids, inputs_embeds)
        hidden_states = self.encoder(
            hidden_states, end_positions, attention_mask, all_tokens, num_shared_tokens, **kwargs
        )
        hidden_states = self.final_layer_norm(hidden_states)
        pooled = read_tokens(hidden_states, end_positions if all_tokens else 0)[:, 0]
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)

    def find_end_positions(self, input_ids: torch.Tensor) -> torch.Tensor:
        """The end of each text, `(N, S)` -> `(N, 1)`. As in CLIP, the end token 2 of old configs is the largest id."""
        is_end = input_ids if self.eos_token_id == 2 else input_ids == self.eos_token_id
        return is_end.to(torch.int).argmax(dim=-1, keepdim=True)


def trim_texts(end_positions: torch.Tensor, *per_token: torch.Tensor | None) -> list[torch.Tensor | None]:
    """Cuts `(N, S)` tensors after the longest text; in a graph, whose sizes are fixed, they stay as they are."""
    if in_graph():
        return list(per_token)
    longest = int(end_positions.max()) + 1
    return [tensor if tensor is None else tensor[:, :longest] for tensor in per_token]


# ---- encoding of classes ----


def encode_classes(
    text_model: VitaClipTextModel,
    class_prompts: ClassPrompts,
    label_token_ids: list[list[int]] | None = None,
    chunk_size: int = 512,
) -> torch.Tensor:
    """
    The end tokens of classes with their learned contexts, `(C, D_t)`, encoded in groups of similar length.

    Args:
        text_model: CLIP's.
        class_prompts: the contexts.
        label_token_ids: other classes than the model's own; see [`ClassPrompts.layout`].
        chunk_size: the largest number of classes encoded at once, to bound memory, without gradients or with gradient
            checkpointing. Otherwise chunks would save nothing: activations are kept for the backward pass.
    """
    layout = class_prompts.layout(label_token_ids)
    checkpointing = text_model.training and text_model.encoder.layers[0].gradient_checkpointing
    limit = chunk_size if checkpointing or not torch.is_grad_enabled() else None
    groups = groups_to_encode(layout.lengths, limit, layout.input_ids.device)
    pooled = [_encode_group(text_model, class_prompts, layout, group) for group in groups]
    if len(groups) == 1:
        return pooled[0]
    # The groups are a permutation of the classes; its inverse puts them back.
    places = torch.tensor(list(chain.from_iterable(groups))).argsort()
    return torch.cat(pooled)[places.to(pooled[0].device)]


def _encode_group(
    text_model: VitaClipTextModel, class_prompts: ClassPrompts, layout: ClassLayout, group: list[int]
) -> torch.Tensor:
    """The end tokens of the classes of a layout whose numbers are in `group`, `(C, D_t)`."""
    device = layout.input_ids.device  # buffers have their place even if weights are offloaded
    classes = slice(None) if len(group) == len(layout.lengths) else torch.tensor(group, device=device)
    own_tokens = max(layout.lengths[index] for index in group) - class_prompts.config.text_prompt_length
    tokens = text_model.embeddings.token_embedding(layout.input_ids[classes, :own_tokens])
    return text_model(
        inputs_embeds=class_prompts(tokens, classes, layout.order[classes]),
        end_positions=layout.end_positions[classes],
        num_shared_tokens=layout.num_shared_tokens,
    ).pooler_output


def groups_to_encode(lengths: list[int], chunk_size: int | None, device: torch.device) -> list[list[int]]:
    """
    Texts by [`group_by_length`], in chunks of at most `chunk_size`. In a graph all texts are one group, because each
    group would make the graph larger.
    """
    if in_graph():
        return [list(range(len(lengths)))]
    groups = group_by_length(lengths, GROUP_COST_ON_CPU if device.type == "cpu" else GROUP_COST_ELSEWHERE)
    size = chunk_size or max(len(lengths), 1)
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def group_by_length(lengths: list[int], group_cost: int) -> list[list[int]]:
    """
    Texts of `lengths` tokens in groups, each to be padded to its own longest: the groups for which the sum of

        group_cost + (texts of the group) * (length of its longest)

    is least.

    Returns:
        For each group, from short to long, the positions in `lengths` of its texts, in their order.
    """
    count = Counter(lengths)
    distinct = sorted(count)
    # best[n]: the least cost of the texts of the n shortest lengths, and the begin of their last group.
    best: list[tuple[int, int]] = [(0, 0)]
    for end, longest in enumerate(distinct, start=1):
        texts, choices = 0, []
        for begin in reversed(range(end)):
            texts += count[distinct[begin]]
            choices.append((best[begin][0] + group_cost + texts * longest, begin))
        best.append(min(choices))
    groups: list[list[int]] = []
    end = len(distinct)
    while end:
        begin = best[end][1]
        members = set(distinct[begin:end])
        groups.insert(0, [index for index, length in enumerate(lengths) if length in members])
        end = begin
    return groups
