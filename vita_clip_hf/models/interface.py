"""The interface of a model under evaluation, which compares videos with texts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from ..modeling.labels_vita_clip import embed_labels, templates_of
from ..modeling.modeling_vita_clip import scaled_cosine

TEXT_CHUNK = 512  # texts encoded at once, which bounds memory
F = TypeVar("F", bound="VideoFeatures")


@dataclass
class VideoFeatures:
    """
    Args:
        frame_embeds: of each frame, `(B, T, D')`, not normalised.
        video_embeds: of each clip, `(B, D')`, not normalised.
    """

    frame_embeds: torch.Tensor
    video_embeds: torch.Tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of them, those of a subclass too, by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def map(self: F, change: Callable[[torch.Tensor], torch.Tensor]) -> F:
        """The same features with each tensor changed."""
        return type(self)(**{name: change(tensor) for name, tensor in self.tensors().items()})

    @classmethod
    def join(cls: type[F], parts: Sequence[F], how: Callable[[list[torch.Tensor]], torch.Tensor]) -> F:
        """Features of several parts, all of this class, as one: by `torch.cat` or `torch.stack`."""
        every = [part.tensors() for part in parts]
        return cls(**{name: how([tensors[name] for tensors in every]) for name in every[0]})


class VideoTextModel(ABC):
    """
    A model that compares clips with texts. Texts are encoded once for a set of labels. `logits` is a step of its own,
    because a model's text may depend on the video (X-CLIP). A subclass of [`VideoFeatures`] carries the features that
    it then needs.

    Args:
        model: a model of transformers; `model.get_text_features` embeds texts.
        tokenizer: of the model; needed for texts and labels only.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase | None = None):
        self.model, self._tokenizer = model, tokenizer

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Raises `ValueError` if there is none."""
        if self._tokenizer is None:
            raise ValueError(f"{type(self.model).__name__} was given no tokenizer, which texts need.")
        return self._tokenizer

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.model.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """Of normalised pixels."""
        return self.model.dtype

    @property
    def num_trained(self) -> int | None:
        """
        The numbers that its training on videos changed; `None` if its files do not say, as those of a CLIP or an
        X-CLIP, which somebody may have trained as a whole or in parts.
        """
        return None

    @property
    def max_text_tokens(self) -> int:
        """Of a text at most, its start and end token among them."""
        return self.model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], truncate: bool = False) -> torch.Tensor:
        """
        Embeds whole texts, which may repeat.

        Args:
            texts: of any kind, such as captions.
            truncate: read the first `max_text_tokens` tokens of a longer text, the last of which is the end token.

        Returns:
            `(C, D')`, not normalised.

        Raises:
            ValueError: a text is too long, or the model has no tokenizer.
        """
        cut = {"truncation": True, "max_length": self.max_text_tokens} if truncate else {}
        embeds = []
        for start in range(0, len(texts), TEXT_CHUNK):
            tokens = self.tokenizer(list(texts[start : start + TEXT_CHUNK]), padding=True, return_tensors="pt", **cut)
            embeds.append(self.model.get_text_features(**tokens.to(self.device)).pooler_output)
        return torch.cat(embeds)

    @property
    def label_templates(self) -> tuple[str, ...]:
        """The texts in which labels stand by default."""
        return templates_of(self.model)

    def encode_labels(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """
        Embeds class names in hand-written templates: the mean over the templates.

        Args:
            labels: distinct names; underscores are read as spaces.
            templates: each with one `{}` for the name; by default `label_templates`.

        Returns:
            `(C, D')`.

        Raises:
            ValueError: labels are empty or repeated, a template has no `{}`, or a text is too long.
        """
        return embed_labels(self.model, self.tokenizer, labels, templates)

    def encode_classes(self) -> torch.Tensor:
        """
        Embeds the classes that the model was trained on, `(C, D')`.

        Raises:
            ValueError: the model has no classes of its own.
        """
        raise ValueError(f"{type(self.model).__name__} has no classes of its own: name labels to compare with.")

    def score(self, pixel_values: torch.Tensor, text_embeds: torch.Tensor | None) -> torch.Tensor:
        """
        From normalised clips `(B, T, 3, H, W)` to logits `(B, C)`.

        Args:
            text_embeds: `(C, D')`. A model of which only the whole can be called, as if it is spread over devices,
                overrides this method, and may take `None` for its own classes.

        Raises:
            ValueError: there are no texts.
        """
        if text_embeds is None:
            raise ValueError("There are no texts to compare with.")
        return self.logits(self.encode_videos(pixel_values), text_embeds)

    @abstractmethod
    def encode_videos(self, pixel_values: torch.Tensor) -> VideoFeatures:
        """Embeds normalised clips `(B, T, 3, H, W)`."""

    @abstractmethod
    def logits(self, video: VideoFeatures, text_embeds: torch.Tensor) -> torch.Tensor:
        """Compares B clips with C texts, `(C, D')` of any length: `(B, C)`, float32."""


def cosine_logits(video: VideoFeatures, text_embeds: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """exp(logit_scale) * cos(video, text) of features of any length, `(B, C)`, float32."""
    text_embeds = text_embeds.to(video.video_embeds.device)
    normalize = torch.nn.functional.normalize
    return scaled_cosine(normalize(video.video_embeds, dim=-1), normalize(text_embeds, dim=-1), logit_scale)
