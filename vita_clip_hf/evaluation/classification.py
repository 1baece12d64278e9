"""From cached features to class scores: which texts stand for the classes, views and templates averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..modeling.configuration_vita_clip import VitaClipConfig
from ..modeling.labels_vita_clip import label_words, tokenize_labels
from ..modeling.modeling_vita_clip import average_views
from ..models import VideoFeatures, VideoTextModel
from .features import FeatureStore
from .protocols import Protocol

_CLIPS_AT_ONCE = 64  # bounds memory where a model's texts depend on the video


@dataclass(frozen=True)
class ClassTexts:
    """
    Args:
        embeds: what `model.logits` compares with, `(C, D')`: one, or one for each template that is scored apart.
        kind: "own", "contexts", "templates", or "names" without a template; see [`Protocol`].
    """

    embeds: list[torch.Tensor]
    kind: str

    def of_classes(self, classes: Sequence[int]) -> "ClassTexts":
        """Those of some classes only."""
        return ClassTexts([embeds[list(classes)] for embeds in self.embeds], self.kind)


def encode_class_texts(model: VideoTextModel, names: Sequence[str], protocol: Protocol) -> ClassTexts:
    """
    Encodes the classes as the protocol says: the learned ones if the model has all of them, else names in templates,
    or alone for models that were trained so.

    Raises:
        ValueError: a name is too long, empty or repeated.
    """
    if protocol.class_texts != "templates":
        places = own_classes(model, names)
        if places is not None:
            return ClassTexts([model.encode_classes()[places]], "own")
    if protocol.class_texts == "contexts" and has_shared_contexts(model):
        tokens = tokenize_labels(model.tokenizer, list(names))
        with torch.no_grad():
            return ClassTexts([model.model.get_class_features(label_token_ids=tokens).pooler_output], "contexts")
    alone = model.model.config.model_type in protocol.names_alone
    templates = ["{}"] if alone else list(protocol.templates)
    groups = [templates] if protocol.template_average == "embeddings" else [[template] for template in templates]
    return ClassTexts([model.encode_labels(list(names), group) for group in groups], "names" if alone else "templates")


def has_shared_contexts(model: VideoTextModel) -> bool:
    """Whether it is a Vita-CLIP with contexts that stand around any class name."""
    config = model.model.config
    is_vita_clip = config.model_type == VitaClipConfig.model_type
    return is_vita_clip and config.text_prompt_length > 0 and config.text_prompt_scope == "unified"


def own_classes(model: VideoTextModel, names: Sequence[str]) -> list[int] | None:
    """Where the model has these classes among its own, capitals and underscores apart; `None` if it lacks one."""
    config = model.model.config
    if getattr(config, "label_token_ids", None) is None:
        return None
    places = {label_words(name).lower(): number for number, name in enumerate(config.label_names)}
    found = [places.get(label_words(name).lower()) for name in names]
    return None if None in found else [place for place in found if place is not None]


@torch.no_grad()
def score_classes(
    model: VideoTextModel, store: FeatureStore, videos: Sequence[str], texts: ClassTexts, protocol: Protocol
) -> torch.Tensor:
    """
    Scores of all classes for videos in the cache.

    Args:
        videos: identities.
        texts: of the classes.
        protocol: says how views and templates are averaged.

    Returns:
        `(N, C)`, float32 on the CPU; a softmax gives probabilities.
    """
    scores = torch.empty(len(videos), len(texts.embeds[0]))
    for stored in store.read(videos):
        scores[stored.positions] = average_scores(_score(model, stored.features, texts), protocol)
    return scores


@torch.no_grad()
def score_each_view(
    model: VideoTextModel, store: FeatureStore, videos: Sequence[str], texts: ClassTexts
) -> torch.Tensor:
    """`(N, K, V, C)` for K templates that are scored apart and V views: for draws of classes from the last axis."""
    found, places = [], []
    for stored in store.read(videos):
        found.append(_score(model, stored.features, texts))
        places += stored.positions
    return torch.cat(found)[torch.tensor(places).argsort()]


def average_scores(scores: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    """`(N, K, V, C)` to `(N, C)`: over the views, then over the templates."""
    if protocol.view_average == "probabilities":
        by_template = average_views(scores.flatten(0, 1)).unflatten(0, scores.shape[:2])
    else:
        by_template = scores.mean(dim=2)
    if by_template.shape[1] == 1:
        return by_template[:, 0]
    return average_views(by_template) if protocol.template_average == "probabilities" else by_template.mean(dim=1)


def _score(model: VideoTextModel, features: VideoFeatures, texts: ClassTexts) -> torch.Tensor:
    """`(N, K, V, C)` of features `(N, V, ...)`."""
    clips = features.map(lambda tensor: tensor.flatten(0, 1))
    by_template = []
    for embeds in texts.embeds:
        logits = [model.logits(chunk, embeds.to(model.device)).float().cpu() for chunk in _chunks(clips, model.device)]
        by_template.append(torch.cat(logits).unflatten(0, features.video_embeds.shape[:2]))
    scores = torch.stack(by_template, dim=1)
    if not scores.isfinite().all():
        raise ValueError(
            f"{type(model.model).__name__} gives scores that are no finite numbers; are its weights whole?"
        )
    return scores


def _chunks(clips: VideoFeatures, device: torch.device) -> list[VideoFeatures]:
    split = {name: tensor.to(device).split(_CLIPS_AT_ONCE) for name, tensor in clips.tensors().items()}
    return [type(clips)(**dict(zip(split, parts, strict=True))) for parts in zip(*split.values(), strict=True)]


__all__ = ["ClassTexts", "average_scores", "encode_class_texts", "own_classes", "score_classes", "score_each_view"]
