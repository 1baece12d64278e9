"""The text side of Vita-CLIP: learned contexts around class names, and CLIP's text transformer without padding."""

from typing import Any

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPPreTrainedModel, CLIPTextEmbeddings, CLIPTextModel
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .class_feature_cache_vita_clip import ClassFeatureCache
from .configuration_vita_clip import VitaClipTextConfig
from .initialization_vita_clip import VitaClipPreTrainedModel
from .layers_vita_clip import VitaClipAttention, VitaClipEncoderLayer, read_tokens
from .shared_start_vita_clip import can_share_start, encode_beside_start
from .text_lengths_vita_clip import trim_texts


class ClassPrompts(nn.Module):
    """
    The learned contexts of the class names, and where they stand: `[SOS, ctx_1..ctx_Mc, name, ".", EOS]`, or as
    `text_prompt_position` says. Sequences end with the longest class, not with CLIP's context of 77.

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
        for name, tensor in self.token_layout().items():
            self.register_buffer(name, tensor, persistent=False)
        self.feature_cache = ClassFeatureCache()

    def train(self, mode: bool = True) -> "ClassPrompts":
        """As in torch. Training may change weights in ways that torch does not count: kept features are forgotten."""
        self.feature_cache.clear()
        return super().train(mode)

    def _apply(self, *args, **kwargs) -> "ClassPrompts":
        # Behind `to()`, `half()`, `cuda()`: new weights may come to lie where the old ones were.
        self.feature_cache.clear()
        return super()._apply(*args, **kwargs)

    @property
    def num_contexts_rows(self) -> int:
        """How many sets of contexts there are: one for each class, or one."""
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

    def token_layout(self, label_token_ids: list[list[int]] | None = None) -> dict[str, torch.Tensor]:
        """
        How the sequences of classes are put together. With M_c contexts and C classes of at most S_n own tokens:

        * `input_ids` `(C, S_n)`: own tokens, padded with the end token;
        * `order` `(C, M_c + S_n)`: for each place, which of `[ctx_1..ctx_Mc, own tokens]` stands there;
        * `end_positions` `(C, 1)`: where the end token is.
        """
        classes = self.label_token_ids if label_token_ids is None else label_token_ids
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
        """The order of `[ctx_1..ctx_Mc, SOS, name.., ".", EOS, padding..]` in the sequence of one class."""
        contexts = list(range(self.config.text_prompt_length))
        start, *rest = range(len(contexts), len(contexts) + longest)
        name, tail = rest[: num_tokens - 3], rest[num_tokens - 3 :]
        before = self._contexts_before_name
        return [start, *contexts[:before], *name, *contexts[before:], *tail]

    @property
    def _contexts_before_name(self) -> int:
        contexts = self.config.text_prompt_length
        return {"end": contexts, "front": 0, "middle": contexts // 2}[self.config.text_prompt_position]

    def num_shared_tokens(self, layout: dict[str, torch.Tensor]) -> int:
        """With how many tokens all classes of a layout begin alike; 0 where it is the start token at most."""
        if self.config.text_prompt_scope != "unified" or self._contexts_before_name == 0:
            return 0
        if layout["input_ids"] is self.input_ids:  # known without waiting for the device
            first = {ids[0] for ids in self.label_token_ids}
        else:
            first = set(layout["input_ids"][:, 0].tolist())
        return 1 + self._contexts_before_name if len(first) == 1 else 0

    @property
    def own_layout(self) -> dict[str, torch.Tensor]:
        """[`token_layout`] of the model's classes."""
        return {"input_ids": self.input_ids, "order": self.order, "end_positions": self.end_positions}

    def lengths(self, layout: dict[str, torch.Tensor]) -> list[int]:
        """Of each class in a layout, contexts and own tokens together."""
        if layout["end_positions"] is self.end_positions:  # known without waiting for the device
            return [self.config.text_prompt_length + len(ids) for ids in self.label_token_ids]
        return [end + 1 for end in layout["end_positions"][:, 0].tolist()]

    def forward(
        self, tokens: torch.Tensor, classes: slice | torch.Tensor, layout: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """
        Puts the contexts of classes in their places.

        Args:
            tokens: CLIP's embeddings of the classes' own tokens, `(C, S_n, D_t)`. Not the embedding and ids, as
                accelerate moves what a module is given to a device, and can move no module with offloaded weights.
            classes: which of the classes, by number.
            layout: by [`token_layout`]; of other classes than the model's own it needs unified contexts.

        Returns:
            `(C, M_c + S_n, D_t)`.
        """
        if self.config.text_prompt_length == 0:
            return tokens
        contexts: torch.Tensor = self.contexts
        if self.config.text_prompt_scope == "class":
            contexts = contexts[classes]
        else:
            contexts = contexts.expand(tokens.shape[0], -1, -1)
        parts = torch.cat([contexts.to(tokens.dtype), tokens], dim=1)
        return parts.take_along_dim(layout["order"][classes, : parts.shape[1], None], dim=1)


class VitaClipTextEncoder(CLIPEncoder):
    """CLIP's encoder, whose last layer is computed for the token that is read."""

    def __init__(self, config: VitaClipTextConfig):
        nn.Module.__init__(self)
        self.config = config
        self.layers = nn.ModuleList([VitaClipEncoderLayer(config) for _ in range(config.num_hidden_layers)])
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
        the same in all texts, are computed once where that is possible.
        """
        kwargs.pop("is_causal", None)  # transformers passes on the caller's or the config's; CLIP's is known here
        wants_plain = all_tokens or attention_mask is not None
        if num_shared_tokens and not wants_plain and can_share_start(self, len(hidden_states)):
            return encode_beside_start(self, hidden_states, end_positions, num_shared_tokens, **kwargs)
        causal_mask = create_causal_mask(self.config, hidden_states, attention_mask, None)
        for layer in self.layers[: None if all_tokens else -1]:
            hidden_states = layer(hidden_states, causal_mask, is_causal=True, **kwargs)
        if all_tokens:
            return hidden_states
        # The end token sees itself and all before it; what stands after it is padding.
        places = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        seen = (places <= end_positions).to(torch.long)
        if attention_mask is not None:
            seen = seen * attention_mask
        mask = create_bidirectional_mask(self.config, hidden_states[:, :1], seen, encoder_hidden_states=hidden_states)
        return self.layers[-1](hidden_states, mask, read_position=end_positions, is_causal=False, **kwargs)


class VitaClipTextModel(VitaClipPreTrainedModel, CLIPTextModel):
    """CLIP's text model, which also takes embeddings, and computes no more positions than are read."""

    config: VitaClipTextConfig
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
            inputs_embeds: token embeddings `(N, S, D_t)` instead of `input_ids`, with `end_positions`.
            end_positions: where the end token is, `(N, 1)`; found in `input_ids` if not given.
            all_tokens: compute the last layer for all positions, which nothing of the model reads.
            num_shared_tokens: with how many tokens all of `inputs_embeds` begin alike: they may be computed once, and
                are not where states or attentions of each text are recorded.

        Returns:
            `last_hidden_state` `(N, 1, D_t)`, or `(N, S, D_t)` with `all_tokens`, and `pooler_output` `(N, D_t)`, the
            end token, both after the final layer norm. S is the longest text's length where lengths can be read.

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
        if self._is_recorded(kwargs):
            num_shared_tokens = 0
        hidden_states = self.embeddings(input_ids, position_ids, inputs_embeds)
        hidden_states = self.encoder(
            hidden_states, end_positions, attention_mask, all_tokens, num_shared_tokens, **kwargs
        )
        hidden_states = self.final_layer_norm(hidden_states)
        pooled = read_tokens(hidden_states, end_positions if all_tokens else 0)[:, 0]
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)

    def _is_recorded(self, kwargs: dict[str, Any]) -> bool:
        """Whether transformers records what layers put out, which it is asked for by an argument or the config."""
        flags = [f"output_{name}" for name in self._can_record_outputs]
        return any(kwargs.get(flag, getattr(self.config, flag, False)) for flag in flags)

    def find_end_positions(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Where each text ends, `(N, S)` -> `(N, 1)`. An old config's end token 2 means the largest id, as in CLIP."""
        is_end = input_ids if self.eos_token_id == 2 else input_ids == self.eos_token_id
        return is_end.to(torch.int).argmax(dim=-1, keepdim=True)
