"""
Few-shot episodes of which each draw is learned: a learner fits something small to the cached features of the draw's
training videos, and scores those to test on. Each draw's scores are kept beside the features, so that a run that was
stopped goes on, and several processes share the draws out.
"""

import hashlib
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..data.draws import Draw
from ..data.splits import draw_episode
from ..modeling.adapter_file_vita_clip import written_whole
from .classification import average_scores
from .features import FeatureStore
from .metrics import top_k_accuracy
from .protocols import Protocol
from .test_sets import TestSet

logger = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True)
class Task:
    """
    What a learner is given of a draw.

    Args:
        draw: its number.
        seed: of all that the learner draws itself.
        class_names: in the order of the labels.
        train, test: identities of videos in the feature cache.
        train_labels, test_labels: of these; the latter for the progress shown alone.
    """

    draw: int
    seed: int
    class_names: list[str]
    train: list[str]
    train_labels: list[int]
    test: list[str]
    test_labels: list[int]


class DrawLearner(ABC):
    """Learns a draw from cached features."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """All that decides about what is learned, as JSON holds it: for the report, and to know scores again."""

    @abstractmethod
    def learn(self, task: Task, store: FeatureStore) -> torch.Tensor:
        """
        Learns from the training videos.

        Returns:
            Logits `(N, V, C)`, float32 on the CPU, of the V views of the videos to test on.
        """


def draws_of(test_set: TestSet, protocol: Protocol) -> list[Draw]:
    """
    The draws of a protocol, whose numbers are rows and class ids of the test set: those of its lists, or from seeds.

    Raises:
        ValueError: there are too few classes or videos to draw from.
    """
    return [draw_of(test_set, protocol, number) for number in range(protocol.num_draws or 0)]


def draw_of(test_set: TestSet, protocol: Protocol, number: int) -> Draw:
    """One of [`draws_of`]."""
    if test_set.draws:
        return test_set.draws[number]
    rows = test_set.rows.add_column("row", list(range(len(test_set.rows))))
    train, test = draw_episode(rows, protocol.num_ways or 0, protocol.shots[0], episode_seed(protocol, number))
    names = test_set.class_names
    classes = [names.index(name) for name in test.features["label"].names]
    return Draw(number, classes, list(train["row"]), list(test["row"]))


def episode_seed(protocol: Protocol, draw: int) -> int:
    """The seed of a draw: other seeds of the protocol give other draws."""
    return protocol.seeds[0] * (protocol.num_draws or 1) + draw


def learn_draws(
    learner: DrawLearner,
    tasks: Sequence[Task],
    store: FeatureStore,
    protocol: Protocol,
    accelerator: Accelerator | None = None,
) -> dict[int, torch.Tensor]:
    """
    The scores `(N, C)` of each draw's videos to test on, averaged over views as the protocol says, by its number.
    Draws that were learned before, by the same learner from the same features, are read.

    Args:
        learner: is asked for the others.
        tasks: a draw each.
        store: the feature cache; scores are kept in the folder `draws` beside its own.
        protocol: says how views are averaged.
        accelerator: shares the draws out; all processes must see the same cache folder.

    Raises:
        OSError: scores cannot be written, or processes do not see each other's.
        ValueError: scores are no finite numbers.
    """
    rank, world = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    paths = {
        task.draw: store.folder.parent / "draws" / f"{_key(task, learner, store, protocol)}.json" for task in tasks
    }
    found: dict[int, torch.Tensor] = {}
    right: list[float] = []
    with tqdm(tasks, desc="draws", unit=" draws", disable=rank > 0) as bar:
        for position, task in enumerate(bar):
            if position % world != rank:
                continue
            scores = _read(paths[task.draw], task)
            if scores is None:
                scores = average_scores(learner.learn(task, store)[:, None], protocol)
                if not scores.isfinite().all():
                    raise ValueError(
                        f"Draw {task.draw}: the scores are no finite numbers; is the learning rate too high?"
                    )
                _write(paths[task.draw], scores)
            found[task.draw] = scores
            right.append(top_k_accuracy(scores, torch.tensor(task.test_labels), 1))
            bar.set_postfix(top_1=f"{sum(right) / len(right):.3f}")
    if accelerator is None or world == 1:
        return found
    accelerator.wait_for_everyone()
    for task in tasks:
        if task.draw not in found:
            others = _read(paths[task.draw], task)
            if others is None:
                raise OSError(f"{paths[task.draw]}: is not there; every process needs the same cache folder.")
            found[task.draw] = others
    return found


def _key(task: Task, learner: DrawLearner, store: FeatureStore, protocol: Protocol) -> str:
    """A hash over all that a draw's scores depend on."""
    facts = {
        "format": _FORMAT,
        "features": store.folder.name,
        "learner": learner.facts,
        "view_average": protocol.view_average,
        "task": asdict(task),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _write(path: Path, scores: torch.Tensor) -> None:
    text = json.dumps(scores.tolist())
    content = {"scores": text, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    with written_whole(path) as file:
        file.write_text(json.dumps(content), encoding="utf-8")


def _read(path: Path, task: Task) -> torch.Tensor | None:
    """The scores; `None` if they are not there or damaged."""
    if not os.path.exists(path):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if hashlib.sha256(content["scores"].encode()).hexdigest() == content["checksum"]:
            return torch.tensor(json.loads(content["scores"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    logger.warning(f"{path}: is damaged. The draw {task.draw} is learned again.")
    return None


__all__ = ["DrawLearner", "Task", "draw_of", "draws_of", "episode_seed", "learn_draws"]
