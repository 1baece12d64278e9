"""
The beginning that all classes share, encoded once.

With unified contexts before the names every class begins with the same P tokens, [SOS, ctx_1..ctx_Mc]. Attention is
causal, so that nothing of a name reaches them: in every layer they are the same for all classes, and

    start   = layer(start)                          each token sees itself and those before it; once
    own_n   = layer(own_n, beside start)            each token sees all of start, itself and those of own_n before it

Start and own tokens stand in one row, `(1, P + N * S, D)`: all of a layer but its attention takes token by token. Of
N = 2 texts with P = 3 shared and S = 2 own tokens:

    texts              s0 s1 s2 a0 a1      s0 s1 s2 b0 b1        (2, 5, D)
    row                s0 s1 s2 | a0 a1 | b0 b1                  (1, 7, D)
    beside start       s0 s1 s2 a0 a1      s0 s1 s2 b0 b1        (2, 5, D), the keys and values of a0 a1 and of b0 b1
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers.masking_utils import create_causal_mask

from .graphs_vita_clip import in_graph

# The attention functions whose masks are tensors over queries and keys, which can be cut to the queries asked for.
TENSOR_MASK_BACKENDS = ("eager", "sdpa")


@dataclass(frozen=True)
class SharedStart:
    """
    Where the tokens of N texts with the same first P are in their row.

    Args:
        num_tokens: of the start, P.
        num_texts: N.
        only_ends_ask: the queries are not of the row, but of the end token of each text, as in the last layer.
    """

    num_tokens: int
    num_texts: int
    only_ends_ask: bool = False

    def pack(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(N, P + S, D)` -> `(1, P + N * S, D)`."""
        start, own = hidden_states[:1, : self.num_tokens], hidden_states[:, self.num_tokens :]
        return torch.cat([start, own.flatten(0, 1)[None]], dim=1)

    def positions_in_row(self, positions: torch.Tensor, length: int) -> torch.Tensor:
        """
        Where own tokens, at `positions` `(N, 1)` of their texts of `length` P + S, are in the row: `(1, N)`. Of text n
        the token at p is its own at p - P, and its own begin at P + n * S, so that it is at p + n * S.
        """
        own_tokens = length - self.num_tokens
        return positions.t() + own_tokens * torch.arange(self.num_texts, device=positions.device)

    def attend(
        self,
        attention: Callable,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """
        Args:
            attention: of `(N, Q, D)` queries, `(N, K, D)` keys and values and a mask, to `(N, Q, D)` and the weights.
            queries: of all tokens of the row, `(1, P + N * S, D)`, or with `only_ends_ask` `(1, N, D)`.
            keys, values: of all tokens of the row, `(1, P + N * S, D)`.
            mask: of the queries of one text to the keys of one text, as the backend takes it: `(1, 1, P + S, P + S)`,
                or with `only_ends_ask` `(N, 1, 1, P + S)`.

        Returns:
            What the tokens that ask become, of the shape of `queries`.
        """
        beside_start = self._beside_start(keys), self._beside_start(values)
        if self.only_ends_ask:
            return attention(queries.transpose(0, 1), *beside_start, mask)[0].transpose(0, 1)
        start, own = self._split(queries)
        start_keys, start_values = self._split(keys)[0], self._split(values)[0]
        tokens = self.num_tokens
        start, _ = attention(start, start_keys, start_values, mask[..., :tokens, :tokens])
        own, _ = attention(own, *beside_start, mask[..., tokens:, :])
        return torch.cat([start, own.flatten(0, 1)[None]], dim=1)

    def _beside_start(self, tokens: torch.Tensor) -> torch.Tensor:
        """`(1, P + N * S, D)` -> `(N, P + S, D)`: the start before each text's own."""
        start, own = self._split(tokens)
        return torch.cat([start.expand(self.num_texts, -1, -1), own], dim=1)

    def _split(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(1, P + N * S, D)` -> `(1, P, D)` and `(N, S, D)`."""
        start, own = tokens[:, : self.num_tokens], tokens[0, self.num_tokens :]
        return start, own.unflatten(0, (self.num_texts, -1))


def can_share_start(encoder: nn.Module, num_texts: int) -> bool:
    """Where masks are tensors; not with dropout, which is to differ between texts, nor in a graph of fixed sizes."""
    drops = encoder.training and encoder.config.attention_dropout > 0
    takes_mask = encoder.config._attn_implementation in TENSOR_MASK_BACKENDS
    return num_texts > 1 and takes_mask and not drops and not in_graph()


def encode_beside_start(
    encoder: nn.Module, hidden_states: torch.Tensor, end_positions: torch.Tensor, num_shared_tokens: int, **kwargs
) -> torch.Tensor:
    """
    Args:
        encoder: CLIP's text layers.
        hidden_states: texts of length P + S whose first P tokens are the same, `(N, P + S, D)`.
        end_positions: where their end tokens are, `(N, 1)`.
        num_shared_tokens: P.

    Returns:
        The end tokens, `(N, 1, D)`.
    """
    num_texts, length = hidden_states.shape[:2]
    start = SharedStart(num_shared_tokens, num_texts)
    mask = create_causal_mask(encoder.config, hidden_states[:1], None, None, allow_is_causal_skip=False)
    row = start.pack(hidden_states)
    for layer in encoder.layers[:-1]:
        row = layer(row, mask, shared_start=start, is_causal=False, **kwargs)  # the mask says what is seen
    end_mask = mask[0, 0, end_positions[:, 0]][:, None, None]  # what each end token sees, (N, 1, 1, P + S)
    ends = start.positions_in_row(end_positions, length)
    only_ends = replace(start, only_ends_ask=True)
    last = encoder.layers[-1](row, end_mask, read_position=ends, shared_start=only_ends, is_causal=False, **kwargs)
    return last.transpose(0, 1)
