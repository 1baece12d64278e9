"""Class names: to tokens, and to first contexts."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase


def tokenize_labels(tokenizer: PreTrainedTokenizerBase, labels: list[str]) -> list[list[int]]:
    """
    The tokens of `"name."` of each class with start and end token; underscores in a name are spaces. Names longer
    than CLIP's context come back whole: the model says which one does not fit.
    """
    texts = [name.replace("_", " ") + "." for name in labels]
    return tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]


@torch.no_grad()
def contexts_from_words(model: nn.Module, tokenizer: PreTrainedTokenizerBase, words: str) -> torch.Tensor:
    """
    Token embeddings of `words`, `(M, D_t)` with M at most M_c, to start contexts from.

    Raises:
        ValueError: `words` has no tokens, or more than there are contexts.
    """
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    limit = model.config.text_config.text_prompt_length
    if not 0 < len(ids) <= limit:
        raise ValueError(
            f"The words to start contexts from must make 1 to {limit} tokens; {words!r} makes {len(ids)}."
        )
    embedding = model.text_model.embeddings.token_embedding
    return embedding(torch.tensor(ids, device=embedding.weight.device))


@torch.no_grad()
def carry_over_contexts(
    old: nn.Module, old_labels: list[str], new: nn.Module, new_labels: list[str], start: torch.Tensor | None
) -> None:
    """
    Fills the contexts of `new` class prompts: of names that `old` has, its own; of others `start` `(M, D_t)` in the
    first M places, else the mean of the old ones, else N(0, 0.02). Unified contexts are kept.
    """
    trained: Any = getattr(old, "contexts", None)
    if new.config.text_prompt_scope == "unified":
        new.contexts.copy_(trained)
        return
    known = {name: index for index, name in enumerate(old_labels)} if trained is not None else {}
    if known:
        new.contexts.copy_(trained.mean(dim=0).expand_as(new.contexts))
    else:
        nn.init.normal_(new.contexts, std=0.02)
    if start is not None:
        new.contexts[:, : len(start)] = start.to(new.contexts)
    for index, name in enumerate(new_labels):
        if name in known:
            new.contexts[index] = trained[known[name]]
