"""The protocols in which videos are classified: supervised, zero-shot, few-shot, base-to-novel, episodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset

from ..data.rows import name_of
from ..data.splits import draw_classes, draw_episode
from .classification import ClassTexts, average_scores, encode_class_texts, score_classes, score_each_view
from .features import identity_of
from .metrics import bootstrap_interval, mean_class_accuracy, top_k_accuracy
from .protocols import Protocol
from .report import Part
from .run import Contender, Resources, Run, encode
from .test_sets import TestSet

_RANKED = 5  # classes of each video that the predictions name


@dataclass(frozen=True)
class Outcome:
    """
    Args:
        parts: the figures.
        predictions: a row for each video of each part.
        failures: by split, why rows could not be read, by their number.
    """

    parts: list[Part]
    predictions: list[dict[str, Any]]
    failures: dict[str, dict[int, str]]


@dataclass(frozen=True)
class _Selection:
    """Videos and classes of a part: rows of the test set, their labels among the classes, and the draw's number."""

    rows: list[int]
    labels: torch.Tensor
    classes: list[int]
    draw: int | None


def classify(
    run: Run, contender: Contender, test_sets: Sequence[TestSet], protocol: Protocol, resources: Resources
) -> Outcome:
    """Runs one model over all test sets."""
    outcome = Outcome([], [], {})
    for test_set in test_sets:
        failures = encode(contender, test_set.rows, resources, f"{test_set.name}: encoding")
        outcome.failures[test_set.name] = failures
        texts = encode_class_texts(contender.model, test_set.class_names, protocol)
        readable = [row for row in range(len(test_set.rows)) if row not in failures]
        if not readable:
            raise OSError(f"None of the {len(test_set.rows)} videos of {test_set.name} could be read.")
        all_rows = test_set.rows.to_list()  # a data set's own rows are slow to take one by one
        videos = [identity_of(all_rows[row]) for row in readable]
        draws = protocol.num_draws is not None
        all_scores = score_each_view(contender.model, contender.store, videos, texts) if draws else None
        places = {row: place for place, row in enumerate(readable)}
        for selection in _selections(test_set, readable, run, protocol):
            if all_scores is None:
                scores = score_classes(contender.model, contender.store, videos, texts, protocol)
            else:
                chosen = all_scores[[places[row] for row in selection.rows]][..., selection.classes]
                scores = average_scores(chosen, protocol)
            part = _part(run, test_set, selection, scores, texts, protocol)
            outcome.parts.append(part)
            outcome.predictions.extend(_prediction_rows(part, all_rows, test_set.class_names, selection, scores))
    return outcome


def _selections(test_set: TestSet, readable: list[int], run: Run, protocol: Protocol) -> Iterator[_Selection]:
    labels = torch.tensor(test_set.rows["label"])
    names = test_set.class_names
    if protocol.num_draws is None:
        yield _Selection(readable, labels[readable], list(range(len(names))), None)
        return
    numbered = test_set.rows.add_column("row", list(range(len(test_set.rows))))
    for draw in range(protocol.num_draws) if run.draw is None else [run.draw]:
        if protocol.kind == "episodes":
            classes, rows = _episode(numbered, readable, protocol, draw)
        else:
            classes = draw_classes(names, len(names) // 2, draw)
            rows = [row for row in readable if int(labels[row]) in classes]
        new_ids = torch.full((len(names),), -1)
        new_ids[classes] = torch.arange(len(classes))
        yield _Selection(rows, new_ids[labels[rows]], classes, draw)


def _episode(numbered: Dataset, readable: list[int], protocol: Protocol, draw: int) -> tuple[list[int], list[int]]:
    """Classes, and the rows to test on, of a draw from the whole list, whose column `row` has their numbers."""
    _, test = draw_episode(numbered, protocol.num_ways or 0, protocol.shots[0], episode_seed(protocol, draw))
    names = numbered.features["label"].names
    classes = [names.index(name) for name in test.features["label"].names]
    readable_rows = set(readable)
    return classes, [row for row in test["row"] if row in readable_rows]


def episode_seed(protocol: Protocol, draw: int) -> int:
    """The seed of a draw: other seeds of the protocol give other draws."""
    return protocol.seeds[0] * (protocol.num_draws or 1) + draw


def _part(
    run: Run, test_set: TestSet, selection: _Selection, scores: torch.Tensor, texts: ClassTexts, protocol: Protocol
) -> Part:
    labels = selection.labels
    if not len(labels):
        raise ValueError(f"{test_set.name}: no video is left to test on.")
    known = {
        "top_1": lambda: top_k_accuracy(scores, labels, 1),
        "top_5": lambda: top_k_accuracy(scores, labels, 5),
        "mean_class_accuracy": lambda: mean_class_accuracy(scores, labels),
    }
    correct = ranks_of_right(scores, labels) == 1
    is_drawn = selection.draw is not None
    marks = (run.label, test_set.name, f"draw{selection.draw}" if is_drawn and run.draw is None else "")
    return Part(
        name=" ".join(mark for mark in marks if mark),
        figures={name: known[name]() for name in protocol.metrics},
        interval=None if is_drawn or protocol.metrics[0] != "top_1" else bootstrap_interval(correct.tolist()),
        num_videos=len(labels),
        num_classes=len(selection.classes),
        model=run.model,
        split=test_set.name,
        shots=run.shots,
        seed=run.seed,
        draw=selection.draw,
        class_texts=texts.kind,
    )


def ranks_of_right(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The rank of the right class, from 1; an equal score counts as the better one, as in `top_k_accuracy`."""
    return (scores >= scores.gather(1, labels[:, None])).sum(dim=-1)


def _prediction_rows(
    part: Part, rows: list[dict[str, Any]], class_names: list[str], selection: _Selection, scores: torch.Tensor
) -> list[dict[str, Any]]:
    names = [class_names[label] for label in selection.classes]
    probabilities, best = scores.softmax(-1).topk(min(_RANKED, len(names)), dim=-1)
    ranks = ranks_of_right(scores, selection.labels)
    predictions = []
    for number, row in enumerate(selection.rows):
        label = int(selection.labels[number])
        video = rows[row]
        predictions.append(
            {
                "model": part.model,
                "part": part.name,
                "video": name_of(video),
                "start": video.get("start"),
                "end": video.get("end"),
                "label": names[label],
                "predicted": names[int(best[number, 0])],
                "correct": int(ranks[number]) == 1,
                "rank": int(ranks[number]),
                "best": [names[place] for place in best[number].tolist()],
                "probabilities": probabilities[number].tolist(),
            }
        )
    return predictions


__all__ = ["Outcome", "classify", "episode_seed"]
