"""Zero-shot: class names in hand-written templates, through the frozen text encoder."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ..modeling.configuration_vita_clip import check_label_names
from ..modeling.modeling_vita_clip import VitaClipModel

VIDEO_TEMPLATES = (
    "a video of a person {}.",
    "a photo of a person {}.",
    "a video of the action of {}.",
    "{}",
)


@torch.no_grad()
def embed_labels(
    model: VitaClipModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    templates: Sequence[str] = VIDEO_TEMPLATES,
) -> torch.Tensor:
    """
    The text embedding of each label: the mean over the templates of their embeddings of length 1.

    Args:
        model: its text encoder is used without learned contexts.
        tokenizer: of the model's base.
        labels: names; underscores are read as spaces.
        templates: each with one `{}` for the name.

    Returns:
        Of length 1, `(C, D')`.

    Raises:
        ValueError: labels are empty or repeated, or a template has no `{}`.
    """
    check_label_names(list(labels))
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise ValueError(f"Each template needs one {{}} for the label; found {wrong[0] if wrong else 'none'!r}.")
    texts = [template.format(name.replace("_", " ")) for name in labels for template in templates]
    limit = model.config.text_config.max_position_embeddings
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    features = model.get_text_features(**tokens.to(model.logit_scale.device)).pooler_output
    features = nn.functional.normalize(features, dim=-1).unflatten(0, (-1, len(templates)))
    return nn.functional.normalize(features.mean(dim=1), dim=-1)
