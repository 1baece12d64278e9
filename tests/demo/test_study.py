"""The demo on very little data: every step of the story, on the real path, in seconds."""

import json

import pytest
import torch
from tolerance import TOLERANCE
from transformers.utils import is_torchao_available

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.demo import ablation, precisions, quantized, study, variants
from vita_clip_hf.demo.motion_shapes import MOTIONS
from vita_clip_hf.demo.precisions import Precision
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.splits import Split

SMALL = Recipe(
    train_clips=28, test_clips=28, unseen_looks_clips=28, unseen_motions_clips=16, steps=2, batch_size=4, num_frames=4
)
SAME_LOGITS = 100 * TOLERANCE[torch.float32]  # CLIP's logits are cosines times at most 100
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    study.run_demo(folder, SMALL, num_workers=1)
    return folder


def test_results_hold_both_models_on_every_split(output):
    results = json.loads((output / "results.json").read_text())
    for model in ("frozen_clip", "vita_clip"):
        assert results[model].keys() == {"test", "unseen_looks", "unseen_motions"}
        for figures in results[model].values():
            assert 0 <= figures["top_1"] <= figures["top_5"] <= 1
            assert 0 <= figures["within_pairs"] <= 1
    assert results["vita_clip"]["test"]["chance_top_1"] == pytest.approx(1 / len(MOTIONS))
    assert results["adapter"]["max_logit_difference_after_reload"] < SAME_LOGITS
    assert results["recipe"]["steps"] == SMALL.steps


def test_the_adapter_loads_anywhere_the_package_is_installed(output):
    model = VitaClipForVideoClassification.from_pretrained(output / "adapter")
    assert model.config.base_model_name_or_path == "package://vita_clip_hf/demo/tiny_clip"
    assert model.config.label_names == list(MOTIONS)
    assert not (output / "adapter" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["training_curve.png", "confusion_matrix.png", "film_strip.png"])
def test_pictures_are_drawn(output, name):
    assert (output / name).read_bytes().startswith(PNG_START)


def test_training_changes_prompts_and_nothing_else(output):
    trained = VitaClipForVideoClassification.from_pretrained(output / "adapter")
    untrained = study.build_model(SMALL, list(MOTIONS))
    changed = {
        name for name, weight in untrained.state_dict().items() if not torch.equal(weight, trained.state_dict()[name])
    }
    assert changed
    assert changed <= {name for name, weight in untrained.named_parameters() if weight.requires_grad}


def test_the_evaluation_says_how_often_each_pair_is_told_apart():
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    clips = DecodedClips(torch.zeros(2, 1, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    split = Split(clips, ["a.mp4", "b.mp4"], ["left", "right", "still"], [(0, 1)])
    figures = study.Evaluation(logits, split).figures()
    assert figures["each_pair"] == {"left / right": 0.5}
    assert figures["top_1"] == 0.5


def test_an_interrupted_ablation_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "SEEDS", (0, 1))
    monkeypatch.setattr(ablation, "ROWS", {name: ablation.ROWS[name] for name in ("contexts only", "+ local alone")})
    table = ablation.run_ablation(tmp_path, SMALL, num_workers=1)
    assert list(table) == [ablation.FROZEN_ROW, "contexts only", "+ local alone"]
    assert "| + local alone |" in (tmp_path / "ablation.md").read_text()

    def no_training(*args, **kwargs):
        raise AssertionError("a run that is there was trained again")

    monkeypatch.setattr(ablation, "train_prompts", no_training)
    assert ablation.run_ablation(tmp_path, SMALL, num_workers=1) == table


def test_smaller_adapters_are_smaller_and_are_measured_from_disk(tmp_path):
    rows = variants.run_variants(tmp_path, SMALL, num_workers=1)
    sizes = {(row["variant"], row["precision"]): row["bytes"] for row in rows}
    for variant in variants.VARIANTS:
        assert sizes[variant, "float32"] > sizes[variant, "bfloat16"] > sizes[variant, "int8"]
    for precision in variants.PRECISIONS:
        assert sizes["compact", precision] < sizes["the paper's", precision]
    assert (tmp_path / "variants.md").read_text().count("\n") == 2 + len(rows)


def test_each_precision_has_a_loss_curve_and_an_adapter_that_float32_reads(tmp_path, monkeypatch):
    rows = precisions.run_precisions(tmp_path, SMALL, num_workers=1)
    monkeypatch.setattr(precisions, "train_prompts", None)  # what is there is not trained again
    assert precisions.run_precisions(tmp_path, SMALL, num_workers=1) == rows
    assert [row["precision"] for row in rows] == list(precisions.PRECISIONS)
    by_name = {row["precision"]: row for row in rows}
    start = {name: row["losses"][0][1] for name, row in by_name.items()}
    for name, precision in precisions.PRECISIONS.items():
        row = by_name[name]
        assert [step for step, _ in row["losses"]] == [1, 2]
        in_float32 = precision in (Precision(), Precision(other_seed=True))
        assert (row["largest_logit_difference"] < SAME_LOGITS) == in_float32
        if not precision.other_seed:
            assert start[name] == pytest.approx(start["float32"], rel=0.05)
    assert len(set(start.values())) == len(rows)  # no two of them are the same run
    assert (tmp_path / "precisions.png").read_bytes().startswith(PNG_START)
    assert (tmp_path / "precisions.md").read_text().count("\n") == 2 + len(rows)


@pytest.mark.skipif(not is_torchao_available("0.17.0"), reason="needs torchao 0.17 or newer")
def test_bases_in_fewer_bits_are_measured_from_one_adapter(tmp_path, monkeypatch):
    results = quantized.run_quantized(tmp_path, SMALL, num_workers=1, random_size="tiny")
    monkeypatch.setattr(quantized, "train_prompts", None)  # what is there is not trained again
    assert quantized.run_quantized(tmp_path, SMALL, num_workers=1, random_size="tiny") == results
    trained, random = ({row["base"]: row for row in results[part]} for part in ("trained", "random"))
    assert list(trained) == list(random) == list(quantized.loading_arguments())
    assert trained["float32"]["largest_logit_difference"] == 0
    assert random["float32"]["least_cosine"] == pytest.approx(1, abs=1e-12)
    for name in ("bfloat16", "int8 weights", "int8 dynamic", "fp8 weights"):
        assert trained[name]["weight_bytes"] < trained["float32"]["weight_bytes"]
        assert 0 < trained[name]["mean_logit_difference"] <= trained[name]["largest_logit_difference"] < 2
        assert 0.98 < random[name]["least_cosine"] < 1
        assert trained[name]["same_best_class"] > 0.5
    if not torch.cuda.is_available():
        assert "CUDA" in trained["fp8 dynamic"]["note"]
    written = json.loads((tmp_path / "quantized.json").read_text())
    assert written["trained"] == results["trained"]
    with_figures = [row for part in results.values() for row in part if "note" not in row]
    assert (tmp_path / "quantized.md").read_text().count("\n| ") == len(with_figures) + 1  # and one header inside
