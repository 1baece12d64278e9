"""Several adapters on one base, asked by any number of people at once: each answer is of the adapter that it names."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..data.normalization import PixelNormalization
from ..evaluation.predict import predict_batches
from ..modeling.adapters_vita_clip import DEFAULT_ADAPTER
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..models import VitaClip
from ..visualize.attention import AttentionMaps, attention_maps
from ..visualize.explain import load_explained

# Clips that pass the model while others wait, and label sets whose texts stay encoded.
CLIPS_AT_ONCE, MOST_HELD_TEXTS = 4, 64


@dataclass(frozen=True)
class Choice:
    """
    What a video is compared with, and by which model.

    Args:
        adapter: a name of [`Adapters.names`].
        labels: to choose from; by default the adapter's own classes.
        template: the text around a label; by default those of zero-shot evaluation. Own classes have none.
        prompts: whether the adapter's prompts are on; off, the frozen CLIP answers.
    """

    adapter: str
    labels: tuple[str, ...] | None = None
    template: str | None = None
    prompts: bool = True


class Adapters:
    """
    Loads one base and the prompts of every adapter. Methods may be called from any thread.

    Args:
        places: adapters of one base, folders or Hub ids. A full checkpoint of Vita-CLIP or a plain CLIP may stand
            first, and alone.
        device: by default the CPU.

    Raises:
        OSError: there is no such checkpoint.
        ValueError: no place, one is named twice, one is another kind of model, or adapters are of different bases.
    """

    def __init__(self, places: Sequence[str | os.PathLike], device: str | None = None):
        paths = [os.fspath(place) for place in places]
        if not paths:
            raise ValueError("There is no model: name an adapter, a folder or a Hub id.")
        if len(set(paths)) < len(paths):
            raise ValueError(f"An adapter is named twice: {', '.join(paths)}.")
        self._model, processor = load_explained(paths[0], device)
        self._scored = VitaClip(self._model, processor.tokenizer)
        names = _short_names(paths)
        self._processors = {names[0]: processor}
        self._labels = {names[0]: self._own_labels()}
        self._inner_names = {names[0]: DEFAULT_ADAPTER}
        for name, path in zip(names[1:], paths[1:], strict=True):
            self._processors[name] = VitaClipProcessor.from_pretrained(path)
            self._model.load_adapter(path, name, is_trainable=False)
            self._labels[name] = self._own_labels()
            self._inner_names[name] = name
        self._lock = threading.Lock()
        self._held_texts: OrderedDict[Choice, torch.Tensor] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """The adapters, in the order in which they were given."""
        return list(self._processors)

    def labels(self, name: str) -> tuple[str, ...]:
        """
        The classes that an adapter was trained on; none for a plain CLIP.

        Raises:
            ValueError: there is no adapter of this name.
        """
        return self._labels[self._known(name)]

    def processor(self, name: str) -> VitaClipProcessor:
        """
        The processor of an adapter, which says how its clips are made.

        Raises:
            ValueError: there is no adapter of this name.
        """
        return self._processors[self._known(name)]

    def scores(self, clips: torch.Tensor, choice: Choice) -> torch.Tensor:
        """
        Compares clips with the labels of a choice. Between a few clips others get their turn.

        Args:
            clips: as the model sees them, uint8 `(N, T, 3, H, W)`.

        Returns:
            Probabilities `(N, C)`, on the CPU.

        Raises:
            ValueError: the adapter is not known, or labels or template make no sense.
        """
        normalization = PixelNormalization.of(self.processor(choice.adapter))
        parts = []
        for part in clips.split(CLIPS_AT_ONCE):
            with self._on(choice):
                found = predict_batches(
                    self._scored,
                    [{"pixel_values": part}],
                    self._texts(choice),
                    normalize=lambda pixels: normalization(pixels, self._scored.dtype),
                    description=choice.adapter,
                    progress=False,
                )
            parts.append(found.logits.softmax(dim=-1))
        return torch.cat(parts)

    def attention(self, clip: torch.Tensor, name: str) -> AttentionMaps:
        """
        Where an adapter looks in a clip.

        Args:
            clip: as the model sees it, uint8 `(T, 3, H, W)`.

        Raises:
            ValueError: there is no adapter of this name.
        """
        normalization = PixelNormalization.of(self.processor(name))
        with self._on(Choice(name)):
            return attention_maps(self._model, normalization(clip, self._scored.dtype))

    @contextmanager
    def _on(self, choice: Choice) -> Iterator[None]:
        """The model is the choice's for a while, and no other thread's."""
        inner = self._inner_names[self._known(choice.adapter)]
        with self._lock:
            self._model.set_adapter(inner)
            if choice.prompts:
                yield
            else:
                with self._model.disable_adapter():
                    yield

    def _texts(self, choice: Choice) -> torch.Tensor:
        """`(C, D')`, encoded when they are first asked for. The model must be the choice's."""
        if choice not in self._held_texts:
            self._held_texts[choice] = self._encode(choice)
            if len(self._held_texts) > MOST_HELD_TEXTS:
                self._held_texts.popitem(last=False)
        self._held_texts.move_to_end(choice)
        return self._held_texts[choice]

    def _encode(self, choice: Choice) -> torch.Tensor:
        if choice.labels is not None:
            templates = None if choice.template is None else [choice.template]
            return self._scored.encode_labels(choice.labels, templates)
        if choice.template is not None:
            raise ValueError("A template needs labels to stand around; the model's own classes have none.")
        if not self.labels(choice.adapter):
            raise ValueError(f"{choice.adapter} has no classes of its own: name labels to choose from.")
        return self._scored.encode_classes()

    def _own_labels(self) -> tuple[str, ...]:
        config: Any = self._model.config
        return () if config.label_token_ids is None else tuple(config.label_names)

    def _known(self, name: str) -> str:
        if name not in self._processors:
            raise ValueError(f"There is no adapter {name!r:.100}; loaded are {', '.join(map(repr, self.names))}.")
        return name


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path; the whole path where that would name two, or is the name of the first inside."""
    last = [path.rstrip("/\\").replace("\\", "/").rpartition("/")[2] for path in paths]
    return [
        path if not name or last.count(name) > 1 or name == DEFAULT_ADAPTER else name
        for path, name in zip(paths, last, strict=True)
    ]


__all__ = ["Adapters", "Choice"]
