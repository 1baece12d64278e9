"""The protocols in which videos are classified: supervised, zero-shot, few-shot, base-to-novel, episodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..data.draws import Draw
from ..data.rows import name_of
from ..data.splits import draw_classes
from .classification import average_scores, encode_class_texts, score_classes, score_each_view
from .features import identity_of
from .learned_draws import DrawLearner, Task, draw_of, draws_of, episode_seed, learn_draws
from .metrics import bootstrap_interval, mean_class_accuracy, top_k_accuracy
from .protocols import Protocol
from .report import Part
from .run import Contender, Resources, Run, encode, readable_rows
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
    run: Run,
    contender: Contender,
    test_sets: Sequence[TestSet],
    protocol: Protocol,
    resources: Resources,
    learner: DrawLearner | None = None,
) -> Outcome:
    """Runs one model over all test sets. With a learner, of each draw on its own, the model gives the features."""
    outcome = Outcome([], [], {})
    for test_set in test_sets:
        needed = _needed_rows(run, test_set, protocol)
        rows = test_set.rows.select(needed)
        failures = encode(contender, rows, resources, f"{test_set.name}: encoding")
        outcome.failures[test_set.name] = {needed[number]: reason for number, reason in failures.items()}
        readable = [needed[number] for number in readable_rows(rows, failures, test_set.name)]
        all_rows = test_set.rows.to_list()  # a data set's own rows are slow to take one by one
        videos = {row: identity_of(all_rows[row]) for row in readable}
        if learner is not None:
            scored = _learn(learner, contender, test_set, videos, protocol, resources)
        elif run.draw is not None:
            scored = iter([_score_draw(contender, test_set, videos, protocol, run.draw)])
        else:
            scored = _score(contender, test_set, videos, protocol)
        for selection, scores, class_texts in scored:
            part = _part(run, test_set, selection, scores, class_texts, protocol)
            outcome.parts.append(part)
            outcome.predictions.extend(_prediction_rows(part, all_rows, test_set.class_names, selection, scores))
    return outcome


def _needed_rows(run: Run, test_set: TestSet, protocol: Protocol) -> list[int]:
    """The rows that the model is to see: those of its draw, if it is a draw's, else all."""
    return list(range(len(test_set.rows))) if run.draw is None else draw_of(test_set, protocol, run.draw).test


def _score(
    contender: Contender, test_set: TestSet, videos: dict[int, str], protocol: Protocol
) -> Iterator[tuple[_Selection, torch.Tensor, str]]:
    """Selections, their scores `(N, C)`, and what stood for the classes, from the identities of readable rows."""
    model, store, labels = contender.model, contender.store, torch.tensor(test_set.rows["label"])
    texts = encode_class_texts(model, test_set.class_names, protocol)
    if protocol.num_draws is None:
        everything = _Selection(list(videos), labels[list(videos)], list(range(len(test_set.class_names))), None)
        yield everything, score_classes(model, store, list(videos.values()), texts, protocol), texts.kind
        return
    all_scores = score_each_view(model, store, list(videos.values()), texts)
    places = {row: place for place, row in enumerate(videos)}
    for draw in _draws(test_set, protocol):
        selection = _selection(labels, draw, videos)
        chosen = all_scores[[places[row] for row in selection.rows]][..., selection.classes]
        yield selection, average_scores(chosen, protocol), texts.kind


def _score_draw(
    contender: Contender, test_set: TestSet, videos: dict[int, str], protocol: Protocol, number: int
) -> tuple[_Selection, torch.Tensor, str]:
    """As [`_score`], of a model that is for one draw: the draw's classes may be its own, those of the list are not."""
    draw = draw_of(test_set, protocol, number)
    selection = _selection(torch.tensor(test_set.rows["label"]), draw, videos)
    texts = encode_class_texts(contender.model, [test_set.class_names[label] for label in draw.classes], protocol)
    identities = [videos[row] for row in selection.rows]
    return selection, score_classes(contender.model, contender.store, identities, texts, protocol), texts.kind


def _learn(
    learner: DrawLearner,
    contender: Contender,
    test_set: TestSet,
    videos: dict[int, str],
    protocol: Protocol,
    resources: Resources,
) -> Iterator[tuple[_Selection, torch.Tensor, str]]:
    """As [`_score`], each draw with the classes that were learned from its own training videos."""
    draws, labels = draws_of(test_set, protocol), torch.tensor(test_set.rows["label"])
    selections = [_selection(labels, draw, videos) for draw in draws]
    tasks = []
    for draw, to_test_on in zip(draws, selections, strict=True):
        to_train_on = _selection(labels, replace(draw, test=draw.train), videos)
        names = [test_set.class_names[label] for label in draw.classes]
        train_labels = to_train_on.labels.tolist()
        untrained = set(range(len(names))) - set(train_labels)
        if untrained:
            raise ValueError(f"Draw {draw.number}: {names[min(untrained)]!r} has no training video that can be read.")
        tasks.append(
            Task(
                draw=draw.number,
                seed=episode_seed(protocol, draw.number),
                class_names=names,
                train=[videos[row] for row in to_train_on.rows],
                train_labels=train_labels,
                test=[videos[row] for row in to_test_on.rows],
                test_labels=to_test_on.labels.tolist(),
            )
        )
    scores = learn_draws(learner, tasks, contender.store, protocol, resources.accelerator)
    for selection, draw in zip(selections, draws, strict=True):
        yield selection, scores[draw.number], "own"


def _draws(test_set: TestSet, protocol: Protocol) -> Iterator[Draw]:
    """Of few-shot episodes, or of half of the classes, which has nothing to train on."""
    if protocol.kind == "episodes":
        yield from draws_of(test_set, protocol)
        return
    names, labels = test_set.class_names, list(test_set.rows["label"])
    for number in range(protocol.num_draws or 0):
        classes = draw_classes(names, len(names) // 2, number)
        yield Draw(number, classes, [], [row for row, label in enumerate(labels) if label in classes])


def _selection(labels: torch.Tensor, draw: Draw, videos: dict[int, str]) -> _Selection:
    """The videos of a draw to test on that can be read; `labels` `(N,)` are those of all rows."""
    rows = [row for row in draw.test if row in videos]
    new_ids = {label: number for number, label in enumerate(draw.classes)}
    return _Selection(rows, torch.tensor([new_ids[int(labels[row])] for row in rows]), draw.classes, draw.number)


def _part(
    run: Run, test_set: TestSet, selection: _Selection, scores: torch.Tensor, class_texts: str, protocol: Protocol
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
        class_texts=class_texts,
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


__all__ = ["Outcome", "classify"]
