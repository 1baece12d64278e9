"""The demo on very little data: every step of the story, on the real path, in seconds."""

import argparse
import json
from dataclasses import replace

import pytest
import torch
from hub_card_rules import check_card

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.demo import command, story
from vita_clip_hf.demo.dataset_card import render_dataset_card
from vita_clip_hf.demo.evaluation import Evaluation
from vita_clip_hf.demo.motion_shapes import MOTIONS
from vita_clip_hf.demo.recipe import LONG, QUICK, STANDARD, Recipe
from vita_clip_hf.demo.splits import Split

SMALL = Recipe(
    train_clips=28, test_clips=28, unseen_looks_clips=28, unseen_motions_clips=16, steps=2, batch_size=4, num_frames=4
)
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    story.run_demo(folder, SMALL, num_workers=1)
    return folder


def test_results_hold_both_models_on_every_split(output):
    results = json.loads((output / "results.json").read_text())
    for model in ("frozen_clip", "vita_clip"):
        assert results[model].keys() == {"test", "unseen_looks", "unseen_motions"}
        for figures in results[model].values():
            assert 0 <= figures["top_1"] <= figures["top_5"] <= 1
            assert 0 <= figures["within_pairs"] <= 1
    assert results["vita_clip"]["test"]["chance_top_1"] == pytest.approx(1 / len(MOTIONS))
    assert results["adapter"]["max_prompt_difference_after_reload"] == 0
    assert results["recipe"]["steps"] == SMALL.steps


def test_the_adapter_loads_anywhere_the_package_is_installed(output):
    model = VitaClipForVideoClassification.from_pretrained(output / "adapter")
    assert model.config.base_model_name_or_path == "package://vita_clip_hf/demo/tiny_clip"
    assert model.config.label_names == list(MOTIONS)
    assert not (output / "adapter" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["training_curve.png", "confusion_matrix.png", "film_strip.png"])
def test_pictures_are_drawn(output, name):
    assert (output / name).read_bytes().startswith(PNG_START)


def test_the_data_has_a_card_that_is_valid_by_the_hubs_rules_and_true(output):
    card = (output / "data" / "README.md").read_text(encoding="utf-8")
    report = check_card(card, "dataset")
    assert (report.errors, report.warnings) == ([], [])
    assert "| train | 28 | 14 | " in card
    assert "| unseen_motions | 16 | 8 | " in card
    assert "16 frames of 64 x 64 pixels, 8 frames a second" in card
    for words in ("moving left and moving right", "\n".join(MOTIONS), "## Limits", "## Citation", "n<1K"):
        assert words in card, words
    assert str(output) not in card


def test_the_code_of_the_datas_card_runs(output, monkeypatch, capsys):
    monkeypatch.chdir(output / "data")
    card = (output / "data" / "README.md").read_text(encoding="utf-8")
    exec(card.partition("```python\n")[2].partition("```")[0], {})
    assert capsys.readouterr().out.strip().endswith(MOTIONS[0])


def test_a_folder_without_splits_has_no_card(tmp_path):
    with pytest.raises(OSError, match="no split of Motion Shapes"):
        render_dataset_card(tmp_path)


def test_training_changes_prompts_and_nothing_else(output):
    trained = VitaClipForVideoClassification.from_pretrained(output / "adapter")
    untrained = story.build_model(SMALL, list(MOTIONS))
    changed = {
        name for name, weight in untrained.state_dict().items() if not torch.equal(weight, trained.state_dict()[name])
    }
    assert changed
    assert changed <= {name for name, weight in untrained.named_parameters() if weight.requires_grad}


def test_the_evaluation_says_how_often_each_pair_is_told_apart():
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    clips = DecodedClips(torch.zeros(2, 1, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    split = Split(clips, ["a.mp4", "b.mp4"], ["left", "right", "still"], [(0, 1)])
    figures = Evaluation(logits, split).figures()
    assert figures["each_pair"] == {"left / right": 0.5}
    assert figures["top_1"] == 0.5


@pytest.mark.parametrize(("flags", "recipe"), [([], STANDARD), (["--quick"], QUICK), (["--long"], LONG)])
def test_the_command_runs_the_recipe_that_its_options_name(flags, recipe, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(story, "run_demo", lambda *arguments: calls.append(arguments))
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["demo", *flags, "--output", str(tmp_path), "--seed", "3", "--num-workers", "1"])
    options.run(options)
    assert calls == [(tmp_path, replace(recipe, seed=3), 1)]
