"""Zero-shot: class names in hand-written templates, through the frozen text encoder."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .configuration_vita_clip import check_label_names

VIDEO_TEMPLATES = (
    "a video of a person {}.",
    "a photo of a person {}.",
    "a video of the action of {}.",
    "{}",
)


def check_templates(templates: Sequence[str]) -> None:
    """Raises `ValueError` unless there are templates, each a text with one `{}` for the label."""
    if not templates:
        raise ValueError("There is no template; expected at least one, such as 'a video of a person {}.'.")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"Each template needs one {{}} for the label; found {template!r}.")


@torch.no_grad()
def embed_labels(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    templates: Sequence[str] = VIDEO_TEMPLATES,
    chunk_size: int = 512,
) -> torch.Tensor:
    """
    The text embedding of each label: the mean over the templates of their embeddings of length 1.

    Args:
        model: a [`VitaClipModel`]; its text encoder is used without learned contexts.
        tokenizer: of the model's base.
        labels: names; underscores are read as spaces.
        templates: each with one `{}` for the name.
        chunk_size: texts encoded at once, which bounds memory.

    Returns:
        Of length 1, `(C, D')`.

    Raises:
        ValueError: labels are empty or repeated, a template has no `{}`, or a label is too long for the encoder.
    """
    check_label_names(list(labels))
    check_templates(templates)
    texts = [template.replace("{}", name.replace("_", " ")) for name in labels for template in templates]
    _check_lengths(tokenizer, texts, model.config.text_config.max_position_embeddings)
    embeds = []
    for start in range(0, len(texts), chunk_size):
        tokens = tokenizer(texts[start : start + chunk_size], padding=True, return_tensors="pt")
        features = model.get_text_features(**tokens.to(model.logit_scale.device)).pooler_output
        embeds.append(nn.functional.normalize(features, dim=-1))
    per_label = torch.cat(embeds).unflatten(0, (-1, len(templates)))
    return nn.functional.normalize(per_label.mean(dim=1), dim=-1)


def _check_lengths(tokenizer: PreTrainedTokenizerBase, texts: list[str], limit: int) -> None:
    for text, ids in zip(texts, tokenizer(texts, verbose=False)["input_ids"], strict=True):
        if len(ids) > limit:
            raise ValueError(f"The text encoder takes {limit} tokens, and {text!r} makes {len(ids)}.")


__all__ = ["VIDEO_TEMPLATES", "check_templates", "embed_labels"]
