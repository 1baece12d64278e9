"""The studies on very little data: every row on the real path, in seconds."""

import json
from pathlib import Path

import ablation
import attention_on_shape
import precisions
import pytest
import quantized
import torch
import variants
from motion_combinations import Combinations
from study import MotionShapes, Study
from tolerance import TOLERANCE
from transformers.utils import is_torchao_available

from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.evaluation.tables import markdown_table

SMALL = Recipe(
    train_clips=28, test_clips=28, unseen_looks_clips=28, unseen_motions_clips=16, steps=2, batch_size=4, num_frames=4
)
SAME_LOGITS = 100 * TOLERANCE[torch.float32]  # CLIP's logits are cosines times at most 100
DOCS = Path(__file__).parents[3] / "docs"
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """One set of clips for all studies."""
    return MotionShapes(tmp_path_factory.mktemp("shapes"), SMALL, num_workers=1)


def forbid_training(monkeypatch):
    def no_training(*args, **kwargs):
        raise AssertionError("a run that is there was trained again")

    monkeypatch.setattr(MotionShapes, "train", no_training)


def toy_study(rows, measured):
    def measure(settings, seed, folder):
        measured.append((settings["size"], seed))
        (folder / "weights.txt").write_text("of this run alone")
        return {"value": settings["size"] + seed}

    def format_table(runs):
        return markdown_table(["row", "values"], [[row, str(len(seeds))] for row, seeds in runs.items()])

    return Study("toy", rows, measure, format_table, {"recipe": {"steps": 1}})


def test_a_study_measures_each_row_with_each_seed_and_keeps_what_it_measured(tmp_path):
    rows, measured = {"small one": {"size": 1}, "large": {"size": 2}}, []
    runs = toy_study(rows, measured).run(tmp_path, seeds=(0, 5))
    assert measured == [(1, 0), (1, 5), (2, 0), (2, 5)]
    assert runs == {"small one": [{"value": 1}, {"value": 6}], "large": [{"value": 2}, {"value": 7}]}
    written = json.loads((tmp_path / "toy.json").read_text())
    assert (written["runs"], written["seeds"], written["recipe"]) == (runs, [0, 5], {"steps": 1})
    assert (tmp_path / "toy.md").read_text() == "| row | values |\n|---|---|\n| small one | 2 |\n| large | 2 |\n"
    assert (tmp_path / "toy_runs" / "small_one-seed5" / "weights.txt").is_file()
    assert toy_study(rows, measured).run(tmp_path, seeds=(0, 5)) == runs
    assert len(measured) == 4


def test_a_run_of_other_settings_is_measured_again(tmp_path):
    measured = []
    toy_study({"row": {"size": 1}}, measured).run(tmp_path)
    assert toy_study({"row": {"size": 2}}, measured).run(tmp_path) == {"row": [{"value": 2}]}
    assert measured == [(1, 0), (2, 0)]


def test_an_interrupted_ablation_goes_on_where_it_was(tmp_path, shapes, monkeypatch):
    rows = {name: ablation.ROWS[name] for name in ("frozen CLIP, zero-shot", "contexts only", "+ local alone")}
    monkeypatch.setattr(ablation, "ROWS", rows)
    runs = ablation.build_study(shapes).run(tmp_path, (0, 1))
    assert list(runs) == list(rows)
    assert all(len(seeds) == 2 for seeds in runs.values())
    table = (tmp_path / "ablation.md").read_text()
    assert "| + local alone |" in table
    assert "±" not in next(line for line in table.splitlines() if "frozen CLIP" in line)
    forbid_training(monkeypatch)
    assert ablation.build_study(shapes).run(tmp_path, (0, 1)) == runs


def test_smaller_adapters_are_smaller_and_are_measured_from_disk(tmp_path, shapes):
    runs = variants.build_study(shapes).run(tmp_path)
    sizes = {variant: {name: row["bytes"] for name, row in seeds[0].items()} for variant, seeds in runs.items()}
    assert list(sizes) == list(variants.ROWS)
    for variant in sizes.values():
        assert variant["float32"] > variant["bfloat16"] > variant["int8"]
    for precision in variants.PRECISIONS:
        assert sizes["compact"][precision] < sizes["the paper's"][precision]
    assert (tmp_path / "variants.md").read_text().count("\n") == 2 + len(sizes) * len(variants.PRECISIONS)


def test_each_precision_has_a_loss_curve_and_an_adapter_that_float32_reads(tmp_path, shapes, monkeypatch):
    runs = precisions.build_study(shapes).run(tmp_path)
    assert list(runs) == list(precisions.ROWS)
    by_name = {name: seeds[0] for name, seeds in runs.items()}
    start = {name: figures["losses"][0][1] for name, figures in by_name.items()}
    for name, precision in precisions.ROWS.items():
        figures = by_name[name]
        assert [step for step, _ in figures["losses"]] == [1, 2]
        in_float32 = not precision["autocast"] and precision["base_dtype"] == "float32"
        assert (figures["largest_logit_difference"] < SAME_LOGITS) == in_float32
        if not precision["other_seed"]:
            assert start[name] == pytest.approx(start["float32"], rel=0.05)
    assert len(set(start.values())) == len(runs)  # no two of them are the same run
    assert (tmp_path / "precisions.png").read_bytes().startswith(PNG_START)
    assert (tmp_path / "precisions.md").read_text().count("\n") == 2 + len(runs)
    forbid_training(monkeypatch)
    assert precisions.build_study(shapes).run(tmp_path) == runs


TINY = {
    "vision_config": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 16,
    },
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "projection_dim": 32,
    "text_prompt_length": 0,
}


@pytest.mark.skipif(not is_torchao_available("0.17.0"), reason="needs torchao 0.17 or newer")
def test_bases_in_fewer_bits_are_measured_from_one_adapter(tmp_path, shapes, monkeypatch):
    runs = quantized.build_study(shapes, TINY).run(tmp_path)
    trained, random = runs["trained"][0], runs["random"][0]
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
    with_figures = [figures for part in (trained, random) for figures in part.values() if "note" not in figures]
    assert (tmp_path / "quantized.md").read_text().count("\n| ") == len(with_figures) + 1  # and one header inside
    forbid_training(monkeypatch)
    assert quantized.build_study(shapes, TINY).run(tmp_path) == runs


def test_attention_on_the_shape_is_compared_by_clip_and_kept(tmp_path, monkeypatch):
    study = attention_on_shape.build_study(Combinations(28, 3, 4), SMALL)
    runs = study.run(tmp_path)
    figures = runs["Vita-CLIP"][0]
    layers = [figures["class token"][f"layer {layer}"] for layer in range(1, 7)]
    assert figures["class token"]["last layer"] == layers[-1]
    for found in (*layers, figures["rollout"]["rollout"]):
        difference = found["prompts"]["mean"] - found["no_prompts"]["mean"]
        assert found["difference"]["mean"] == pytest.approx(difference, abs=1e-5)
        assert found["difference"]["low"] <= found["difference"]["mean"] <= found["difference"]["high"]
    assert "no_prompts" not in figures["summary token"]["last layer"]
    assert figures["patches"]["no_prompts"][0] > figures["patches"]["prompts"][0]  # prompts take a part
    assert (tmp_path / "attention_on_shape.png").read_bytes().startswith(PNG_START)
    monkeypatch.setattr(attention_on_shape, "train_prompts", None)
    assert study.run(tmp_path) == runs


def test_attention_that_is_the_same_everywhere_has_the_shape_at_its_share():
    masks = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.5, 0.5], [0.0, 0.0]]])
    everywhere = torch.full((3, 2, 2, 2), 0.1)  # of three layers
    assert attention_on_shape.share_on(everywhere, masks).tolist() == pytest.approx([0.25] * 3)
    assert attention_on_shape.share_on(masks, masks).item() == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize(
    ("study", "format_tables", "page"),
    [
        (ablation, ablation.format_table, "motion_shapes/README.md"),
        (attention_on_shape, attention_on_shape.format_table, "motion_shapes/README.md"),
        (variants, variants.format_table, "models.md"),
        (quantized, quantized.format_tables, "models.md"),
    ],
)
def test_the_docs_print_the_table_of_the_runs_beside_them(study, format_tables, page):
    runs = json.loads((DOCS / "motion_shapes" / f"{study.NAME}.json").read_text())["runs"]
    table = format_tables(runs).split("\n\n")[0]
    assert table in (DOCS / page).read_text(encoding="utf-8")
