"""Class names: to words, to tokens, into hand-written templates, and to first contexts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, CLIPConfig, PreTrainedModel, PreTrainedTokenizerBase

from .configuration_vita_clip import check_class_names, check_small_files, check_token_ids, errors_naming
from .layers_vita_clip import PROMPT_STD

VIDEO_TEMPLATES = (
    "a video of a person {}.",
    "a photo of a person {}.",
    "a video of the action of {}.",
    "{}",
)

OLD_END_TOKEN = 2  # in old configurations; the end token is then the largest id


def label_words(name: str) -> str:
    """A class name as words: underscores are spaces."""
    return name.replace("_", " ")


def load_tokenizer_of(name_or_path: Any, **kwargs: Any) -> PreTrainedTokenizerBase:
    """
    The tokenizer in a folder or Hub repository.

    Raises:
        OSError: there is none, or a part of it is missing, so that it reads all texts alike.
        ValueError: it is damaged.
    """
    files = "tokenizer.json, or vocab.json and merges.txt"
    check_small_files(name_or_path)
    with errors_naming(f"The tokenizer of {name_or_path}"):
        try:
            # With a configuration at hand it does not read that of the model, which nothing has checked.
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, config=CLIPConfig(), **kwargs)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise OSError(f"{name_or_path} has no tokenizer that can be used ({files}): {reason:.300}") from error
        tokenizer.padding_side = "right"  # CLIP reads no other texts
        first, second = tokenizer(["a", "b"])["input_ids"]
    if first == second:
        raise OSError(f"{name_or_path} has a tokenizer without words; expected {files} beside its settings.")
    if (first[0], first[-1]) != (second[0], second[-1]):
        raise OSError(f"{name_or_path} has a tokenizer that gives no start and end token; expected CLIP's.")
    return tokenizer


# ---- learned contexts ----


def tokenize_labels(tokenizer: PreTrainedTokenizerBase, labels: list[str], ending: str = ".") -> list[list[int]]:
    """
    The tokens of each class name and its `ending` with start and end token. Names longer than CLIP's context come back
    whole: the model says which one does not fit.
    """
    texts = [label_words(name) + ending for name in labels]
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
    return model.text_model.embeddings.token_embedding(torch.tensor(ids, device=model.logit_scale.device))


@torch.no_grad()
def carry_over_contexts(
    old: nn.Module, old_labels: list[str], new: nn.Module, new_labels: list[str], start: torch.Tensor | None
) -> None:
    """
    Fills the contexts of `new` class prompts. Names that `old` has keep their contexts. Other names get `start`
    `(M, D_t)` in the first M places; the rest is the mean of the old contexts, or N(0, 0.02) if there are none.
    Unified contexts are copied.
    """
    trained: Any = getattr(old, "contexts", None)
    if new.config.text_prompt_scope == "unified":
        new.contexts.copy_(trained)
        return
    known = {name: index for index, name in enumerate(old_labels)} if trained is not None else {}
    if known:
        new.contexts.copy_(trained.mean(dim=0).expand_as(new.contexts))
    else:
        nn.init.normal_(new.contexts, std=PROMPT_STD)
    if start is not None:
        new.contexts[:, : len(start)] = start.to(new.contexts)
    for index, name in enumerate(new_labels):
        if name in known:
            new.contexts[index] = trained[known[name]]


# ---- templates: zero-shot ----


def check_templates(templates: Sequence[str]) -> None:
    """Raises `ValueError` unless there are templates, each a text with one `{}` for the label."""
    if not templates:
        raise ValueError("There is no template; expected at least one, such as 'a video of a person {}.'.")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"Each template needs one {{}} for the label; found {template!r}.")


def templates_of(model: nn.Module) -> tuple[str, ...]:
    """The templates in which labels stand by default: those of zero-shot evaluation, or those of the model's kind."""
    return getattr(model, "label_templates", VIDEO_TEMPLATES)


@torch.no_grad()
def embed_labels(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    templates: Sequence[str] | None = None,
    chunk_size: int = 512,
) -> torch.Tensor:
    """
    The text embedding of each label: the mean over the templates of their embeddings of length 1.

    Args:
        model: a [`VitaClipModel`]; its text encoder is used without learned contexts.
        tokenizer: of the model's base.
        labels: names; underscores are read as spaces.
        templates: each with one `{}` for the name; by default those of [`templates_of`].
        chunk_size: texts encoded at once, which bounds memory.

    Returns:
        Of length 1, `(C, D')`.

    Raises:
        ValueError: labels are empty or repeated, a template has no `{}`, or a label is too long for the encoder.
    """
    check_class_names(list(labels))
    templates = templates_of(model) if templates is None else templates
    check_templates(templates)
    texts = [template.replace("{}", label_words(name)) for name in labels for template in templates]
    _check_texts(tokenizer, texts, model.config)
    embeds = []
    for start in range(0, len(texts), chunk_size):
        tokens = tokenizer(texts[start : start + chunk_size], padding=True, return_tensors="pt")
        features = model.get_text_features(**tokens.to(model.logit_scale.device)).pooler_output
        embeds.append(nn.functional.normalize(features, dim=-1))
    per_label = torch.cat(embeds).unflatten(0, (-1, len(templates)))
    return nn.functional.normalize(per_label.mean(dim=1), dim=-1)


def _check_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str], config: Any) -> None:
    limit, end = config.text_config.max_position_embeddings, config.text_config.eos_token_id
    all_ids = tokenizer(texts, verbose=False)["input_ids"]
    source = f"The tokenizer {tokenizer.name_or_path!r}"
    with errors_naming(source):
        check_token_ids(all_ids, config.text_config.vocab_size)
    for text, ids in zip(texts, all_ids, strict=True):
        if len(ids) > limit:
            raise ValueError(f"The text encoder takes {limit} tokens, and {text!r} makes {len(ids)}.")
        if end != OLD_END_TOKEN and end not in ids:
            raise ValueError(
                f"{source} is not the model's: {text!r} ends with the token {ids[-1]}, and the model's "
                f"text_config.eos_token_id is {end}."
            )


__all__ = ["VIDEO_TEMPLATES", "check_templates", "embed_labels", "label_words", "templates_of"]
