"""The comparison of methods on very little data: every row on the real path, in seconds."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import compare_methods
import contenders
import pytest
import torch
from compare_methods import (
    BASE,
    CAPTIONS,
    MOTIONS,
    NOVEL,
    Comparison,
    caption_accuracies,
    draw_of_each_motion,
    two_best,
)
from contenders import CONTENDERS, build, count_trained
from motion_combinations import ATTRIBUTES, UNSEEN_SHAPE, Combinations, draw_clips
from toy_vita_clip import toy_clips
from transformers import CLIPModel
from vita_clip_hf.modeling.remote_code_vita_clip import locate_base
from x_clip_training import OWN_PARTS, x_clip_from

from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.demo.motions import TRAIN_COLORS, TRAIN_SHAPES
from vita_clip_hf.demo.recipe import TINY_CLIP, Recipe
from vita_clip_hf.evaluation.compare import compare_files
from vita_clip_hf.evaluation.studies import MEASURES

NUM_FRAMES, FRAME = 2, 48
TRIED = ("CLIP, mean of frames", "Efficient-Prompt", "X-CLIP", "fine-tuned CLIP", "Vita-CLIP compact, unified")
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def clips() -> Combinations:
    return Combinations(train_clips=28, test_clips=14, num_frames=NUM_FRAMES)


@pytest.fixture
def comparison(clips, monkeypatch) -> Comparison:
    monkeypatch.setattr(compare_methods, "SHOTS", 2)
    recipe = Recipe(steps=3, batch_size=4, num_frames=NUM_FRAMES)
    tried = {name: replace(CONTENDERS[name], rates=CONTENDERS[name].rates[:1]) for name in TRIED}
    tried["Efficient-Prompt"] = replace(tried["Efficient-Prompt"], rates=(1e-3, 2e-3))
    return Comparison(clips, recipe, 1, tried)


@pytest.fixture(scope="module")
def tiny_clip() -> CLIPModel:
    return CLIPModel.from_pretrained(locate_base(TINY_CLIP)).eval()


def test_every_method_is_trained_and_judged_once(comparison, tmp_path, monkeypatch):
    runs = comparison.run(tmp_path, (0,))
    assert list(runs["supervised"]) == list(runs["base_to_novel"]) == list(TRIED)
    assert list(runs["few_shot"]) == two_best(runs["supervised"], comparison.contenders)
    for name, (figures,) in runs["supervised"].items():
        assert (figures["parameters"] == 0) == (name == "CLIP, mean of frames")
        assert figures["retained"].keys() == ATTRIBUTES.keys()
        accuracies = [
            figures[key] for key in ("seen_top_1", "unseen_top_1", "unseen_motion", "seen_caption", "retention")
        ]
        assert all(0 <= value <= 1 for value in accuracies)
    for part in runs:
        assert json.loads((tmp_path / f"{part}.json").read_text())["runs"] == runs[part]
        assert all(f"| {name} |" in (tmp_path / f"{part}.md").read_text() for name in runs[part])
    assert (tmp_path / "supervised.png").read_bytes().startswith(PNG_START)

    def no_training(*args, **kwargs):
        raise AssertionError("a run that is there was trained again")

    monkeypatch.setattr(contenders, "train_prompts", no_training)
    assert comparison.run(tmp_path, (0,)) == runs


def test_compare_renders_the_study_and_knows_what_guessing_gives(comparison, tmp_path):
    runs = comparison.run(tmp_path, (0,))
    pages = {part: compare_files([tmp_path / f"{part}.json"]) for part in runs}
    for part, page in pages.items():
        assert all(f"| {name} |" in page.as_markdown() for name in runs[part])
        shown = set(page.comparisons[0].figures)
        assert shown <= MEASURES.keys(), "a figure has no title"
    pages["supervised"].save(tmp_path / "page")
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"comparison.md", "supervised.png"}
    chances = {name: 1 / len(attribute.texts) for name, attribute in ATTRIBUTES.items()}
    for name, chance in chances.items():
        assert MEASURES[f"retained/{name}"].chance == pytest.approx(chance)
    assert MEASURES["retention"].chance == pytest.approx(sum(chances.values()) / len(chances))
    assert MEASURES["seen_top_1"].chance == MEASURES["unseen_motion"].chance == pytest.approx(1 / len(MOTIONS))
    assert MEASURES["base"].chance == MEASURES["novel"].chance == pytest.approx(1 / len(NOVEL)) == 1 / len(BASE)


@pytest.mark.parametrize(
    ("part", "table"),
    [
        ("supervised", compare_methods.supervised_table),
        ("base_to_novel", compare_methods.base_to_novel_table),
        ("few_shot", compare_methods.few_shot_table),
    ],
)
def test_the_committed_tables_are_of_the_committed_figures(part, table):
    docs = Path(__file__).parents[3] / "docs" / "motion_shapes"
    page = (docs / "README.md").read_text(encoding="utf-8")
    runs = json.loads((docs / "compare_methods" / f"{part}.json").read_text(encoding="utf-8"))["runs"]
    rows = [line for line in table(runs).splitlines() if line.startswith("|")]
    assert [row for row in rows if row not in page] == []
    assert any(row.startswith("| *chance* |") for row in rows)


def test_training_lacks_the_unseen_combinations_and_nothing_else(clips):
    trained = {(spec.motion, spec.shape) for spec in draw_clips(1_400, 1, 1).specs}
    lacking = set(UNSEEN_SHAPE.items())
    assert not trained & lacking
    assert trained | lacking == {(motion, shape) for motion in MOTIONS for shape in TRAIN_SHAPES}
    assert {(spec.motion, spec.shape) for spec in clips.unseen.specs} == lacking
    assert clips.unseen.clips.labels.tolist() == [MOTIONS.index(spec.motion) for spec in clips.unseen.specs]


def test_the_frozen_clip_keeps_what_a_plain_clip_can(comparison, tiny_clip):
    judged, _ = comparison._train(comparison._row("CLIP, mean of frames", 0.0), 0, None, comparison.clips.train, 1)
    processor, test = comparison.processor, comparison.clips.test
    encoded = comparison._encode(judged, test)
    pixel_values = PixelNormalization.of(processor.video_processor)(test.clips.pixel_values, torch.float32)
    with torch.no_grad():
        frames = tiny_clip.get_image_features(pixel_values.flatten(0, 1)).pooler_output
        video = frames.unflatten(0, (-1, NUM_FRAMES)).mean(dim=1)
        for name in ("color", "size"):
            attribute = ATTRIBUTES[name]
            tokens = processor.tokenizer(list(attribute.texts), padding=True, return_tensors="pt")
            text = tiny_clip.get_text_features(**tokens).pooler_output
            best = (video @ torch.nn.functional.normalize(text, dim=-1).t()).argmax(dim=-1).tolist()
            pairs = [(attribute.value(spec), found) for spec, found in zip(test.specs, best, strict=True)]
            known = [value == found for value, found in pairs if value is not None]
            assert comparison._retained(judged, encoded, name) == pytest.approx(sum(known) / len(known))


def test_captions_are_right_as_a_whole_or_in_their_motion(clips):
    logits = torch.zeros(2, len(CAPTIONS))
    two = clips.test.select([0, 1])
    first, second = two.specs
    logits[0, CAPTIONS.index(f"{article(first.color)} {first.color} {first.shape} {first.motion}")] = 1
    other = next(color for color in TRAIN_COLORS if color != second.color)
    logits[1, CAPTIONS.index(f"{article(other)} {other} {second.shape} {second.motion}")] = 2
    logits[1, CAPTIONS.index(f"{article(second.color)} {second.color} {second.shape} {second.motion}")] = 1
    assert caption_accuracies(logits, two) == {"caption": 0.5, "motion": 1.0}


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def test_novel_motions_are_renumbered(clips):
    novel = clips.test.of_motions(NOVEL)
    assert {spec.motion for spec in novel.specs} == set(NOVEL)
    assert [NOVEL[label] for label in novel.clips.labels.tolist()] == [spec.motion for spec in novel.specs]


def test_shots_are_of_each_motion_and_follow_the_seed(clips):
    drawn = draw_of_each_motion(clips.train, 2, 0)
    assert Counter(spec.motion for spec in drawn.specs) == dict.fromkeys(MOTIONS, 2)
    assert drawn.clips.labels.tolist() == [MOTIONS.index(spec.motion) for spec in drawn.specs]
    assert [spec.noise_seed for spec in drawn.specs] != [
        spec.noise_seed for spec in draw_of_each_motion(clips.train, 2, 1).specs
    ]


def test_each_method_gets_the_rate_that_was_best(comparison):
    tried = {"Efficient-Prompt, 0.001": [{"top_1": 0.3}], "Efficient-Prompt, 0.002": [{"top_1": 0.4}]}
    rows = comparison._rows_at_best_rates(tried)
    assert rows["Efficient-Prompt"]["learning_rate"] == 2e-3
    assert rows["X-CLIP"]["learning_rate"] == CONTENDERS["X-CLIP"].rates[0]
    assert list(comparison._tries()) == list(tried)


def test_the_two_best_are_trained_ones():
    runs = {name: [{"seen_top_1": place / 10}] for place, name in enumerate(CONTENDERS)}
    runs["CLIP, mean of frames"] = [{"seen_top_1": 1.0}]
    assert two_best(runs, CONTENDERS) == ["Vita-CLIP compact, unified", "Vita-CLIP compact"]


# ---- X-CLIP from a CLIP ----


def test_x_clip_takes_the_weights_of_a_clip_and_learns_all_of_its_own(tiny_clip):
    model = x_clip_from(tiny_clip, NUM_FRAMES)
    own = {name for name, _ in model.named_parameters() if any(part in name for part in OWN_PARTS)}
    taken = dict(tiny_clip.named_parameters())
    shared = {name: weight for name, weight in model.named_parameters() if name not in own}
    assert len(shared) == len(taken)
    for name, weight in shared.items():
        assert torch.equal(weight, taken[name.replace("pre_layernorm", "pre_layrnorm")])
    ids = torch.tensor([[816, 5, 817], [816, 9, 817]])
    texts = [one.get_text_features(input_ids=ids).pooler_output for one in (model.eval(), tiny_clip)]
    torch.testing.assert_close(*texts, rtol=1e-4, atol=1e-5)


def test_x_clip_starts_near_the_mean_of_the_frames_of_its_clip(tiny_clip):
    pixel_values = toy_clips(2, NUM_FRAMES, FRAME)
    model = x_clip_from(tiny_clip, NUM_FRAMES).eval()
    with torch.no_grad():
        frames = tiny_clip.get_image_features(pixel_values=pixel_values.flatten(0, 1)).pooler_output
        found = model.get_video_features(pixel_values=pixel_values).pooler_output
    mean = torch.nn.functional.normalize(frames, dim=-1).unflatten(0, (2, NUM_FRAMES)).mean(dim=1)
    assert torch.cosine_similarity(found, mean).min() > 0.98


def test_x_clip_learns_with_every_weight_it_has(comparison):
    model = build(CONTENDERS["X-CLIP"], ["a", "b", "c"], NUM_FRAMES, 0, comparison.processor.tokenizer)
    model.train()
    logits = model(toy_clips(2, NUM_FRAMES, FRAME))["logits"]
    assert logits.shape == (2, 3)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    without = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert without == set()
    assert count_trained(model) == sum(weight.numel() for weight in model.parameters())
