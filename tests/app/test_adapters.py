"""Adapters on one base: each answer is of the adapter that it names, whoever else asks meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from app_models import OTHER_LABELS, save_two_adapters
from tolerance import assert_computed_equal
from toy_checkpoint import write_rising_video
from toy_vita_clip import LABELS, save_toy_clip

from vita_clip_hf.app.adapters import Adapters, Choice
from vita_clip_hf.app.clips import ClipReader, stack
from vita_clip_hf.predict import load_predictor

MINE = ("walking, slowly", "eating")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return save_two_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def adapters(places):
    return Adapters(places)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4"))


@pytest.fixture(scope="module")
def clip(adapters, video):
    return stack([ClipReader(video, adapters.processor("other")).whole()])


def expected(place, video, labels=None):
    """What `vita-clip predict` says, `(C,)` in the order of the labels."""
    predictor = load_predictor(place, labels, top_k=None, device="cpu")
    scores = {entry["label"]: entry["score"] for entry in predictor(video)}
    return torch.tensor([scores[label] for label in predictor.labels])


def test_adapters_are_named_by_their_folders_and_keep_their_labels(adapters):
    assert adapters.names == ["adapter", "other"]
    assert adapters.labels("adapter") == tuple(LABELS)
    assert adapters.labels("other") == tuple(OTHER_LABELS)


@pytest.mark.parametrize("labels", [None, MINE])
def test_scores_are_those_of_the_predictor(adapters, places, clip, video, labels):
    for name, place in zip(adapters.names, places, strict=True):
        found = adapters.scores(clip, Choice(name, labels))[0]
        assert_computed_equal(found, expected(place, video, labels))


def test_without_prompts_the_frozen_clip_answers(adapters, clip):
    model = adapters._model
    found = adapters.scores(clip, Choice("other", prompts=False))[0]
    model.set_adapter("other")
    pixels = (clip.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with model.disable_adapter(), torch.no_grad():
        plain = model(pixels).logits_per_video.softmax(dim=-1)[0]
    assert_computed_equal(found, plain)
    assert (found - adapters.scores(clip, Choice("other"))[0]).abs().max() > 0.01


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_many_people_at_once_each_get_their_own_adapters_answer(adapters, clip):
    choices = [
        Choice(name, labels, prompts=prompts)
        for name in adapters.names
        for labels in (None, MINE)
        for prompts in (True, False)
    ]
    alone = {choice: adapters.scores(clip, choice) for choice in choices}
    with ThreadPoolExecutor(6) as people:
        answers = list(people.map(lambda choice: (choice, adapters.scores(clip, choice)), choices * 8))
    for choice, found in answers:
        assert_computed_equal(found, alone[choice])


def test_texts_are_encoded_once_for_an_adapter_and_its_labels(adapters, clip, monkeypatch):
    encoded = []
    encode = Adapters._encode
    monkeypatch.setattr(Adapters, "_encode", lambda self, choice: encoded.append(choice) or encode(self, choice))
    first, second = Choice("adapter", ("sleep", "dance")), Choice("other", ("sleep", "dance"))
    for choice in (first, second, first, second):
        adapters.scores(clip, choice)
    assert encoded == [first, second]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("third"), "There is no adapter 'third'; loaded are 'adapter', 'other'"),
        (Choice("other", template="a {}"), "A template needs labels"),
        (Choice("other", ("a", "a")), "more than once"),
        (Choice("other", ("a", "b"), "no place"), "needs one {}"),
    ],
)
def test_a_bad_choice_says_what_is_wrong_and_the_next_one_is_answered(adapters, clip, choice, message):
    with pytest.raises(ValueError, match=message):
        adapters.scores(clip, choice)
    assert adapters.scores(clip, Choice("other")).shape == (1, len(OTHER_LABELS))


def test_adapters_of_another_base_are_refused(places, tmp_path):
    from toy_checkpoint import toy_adapter_on, toy_processor

    save_toy_clip(tmp_path / "base", seed=9)
    toy_adapter_on(tmp_path / "base").save_pretrained(tmp_path / "stranger")
    toy_processor().save_pretrained(tmp_path / "stranger")
    with pytest.raises(ValueError, match="base"):
        Adapters([places[0], tmp_path / "stranger"])


def test_no_adapter_and_one_named_twice_are_refused(places):
    with pytest.raises(ValueError, match="There is no model"):
        Adapters([])
    with pytest.raises(ValueError, match="named twice"):
        Adapters([places[0], places[0]])
