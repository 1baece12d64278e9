"""Class names: to tokens, to first contexts, and the cache of what they are encoded to."""

from collections.abc import Callable, Hashable
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


# What of a model text features come from.
_BEHIND_FEATURES = ("text_model", "class_prompts", "text_projection")


class ClassFeatureCache:
    """
    Text features of a model that is not in training, kept until something changes that can be seen: the weights and
    buffers behind them, forward hooks put on or taken off, peft's adapters switched, disabled or merged, or the
    features themselves, which the caller was given and may have written to.

    Not seen are changes that torch does not count, through `weight.data`, until the model's `train()` or `eval()` is
    called after them; what a hook that stays computes from elsewhere; and a new scale of a peft adapter.
    """

    def __init__(self) -> None:
        self._kept: tuple[Hashable, torch.Tensor] | None = None

    def __reduce__(self) -> tuple:
        return ClassFeatureCache, ()  # a copy of the model has weights of its own

    def clear(self) -> None:
        """Forgets the features."""
        self._kept = None

    def get(self, model: nn.Module, encode: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The features that `encode` gives, `(C, D')`: kept ones where the same weights gave them."""
        if model.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return encode()
        key = _state_behind_features(model)
        if key is None:
            return encode()
        kept = self._kept
        if kept is None or kept[0] != (key, kept[1]._version):
            features = _with_version(encode())
            self._kept = kept = ((key, features._version), features)
        return kept[1]


def _with_version(features: torch.Tensor) -> torch.Tensor:
    """A tensor whose changes torch counts, which it does not for one that was made in inference mode."""
    if not features.is_inference():
        return features
    with torch.inference_mode(False):
        return features.clone()


def _state_behind_features(model: nn.Module) -> Hashable:
    """
    Of all modules that text features come from: identity and version of every tensor, hooks, and which adapters of
    peft are on. `None` where torch keeps no versions, or in a replica of `DataParallel`, whose weights live for one
    call.
    """
    modules = [part for behind in _BEHIND_FEATURES for part in getattr(model, behind).modules()]
    weights = [weight for module in modules for weight in module.parameters(recurse=False)]
    tensors = weights + [buffer for module in modules for buffer in module.buffers(recurse=False)]
    if not weights or any(tensor.is_inference() for tensor in tensors):
        return None
    device = weights[0].device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    versions = tuple((tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors)
    hooks = tuple(hook for module in modules for hook in (*module._forward_pre_hooks, *module._forward_hooks))
    return precision, versions, hooks, tuple(_adapters_in_use(module) for module in modules if _is_of_peft(module))


def _is_of_peft(module: nn.Module) -> bool:
    """Whether it is a layer that peft put around another; told by an attribute, as peft need not be installed."""
    return "merged_adapters" in vars(module)


def _adapters_in_use(layer: Any) -> Hashable:
    return layer.disable_adapters, tuple(layer.active_adapters), tuple(layer.merged_adapters)
