"""The modules for `evaluate`: each gives its package function's figures, offline, and its card's example holds."""

import re
from pathlib import Path

import evaluate
import pytest
import torch
import yaml
from hub_card_rules import check_card
from hub_repositories import front_matter

import vita_clip_hf.evaluation
from vita_clip_hf.evaluation import metrics

FOLDER = Path(vita_clip_hf.evaluation.__file__).parent
MODULES = sorted(path.parent.name for path in FOLDER.glob("*/README.md"))
LOGITS = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
LABELS = torch.tensor([0, 2, 2, 1])


def load(name: str):
    kind = "comparison" if name in ("mcnemar_exact", "paired_bootstrap") else "metric"
    return evaluate.load(str(FOLDER / name), module_type=kind, keep_in_memory=True)


def test_every_module_has_a_card():
    assert sorted(path.parent.name for path in FOLDER.glob("*/*.py") if path.stem == path.parent.name) == MODULES
    assert len(MODULES) == 8


@pytest.mark.parametrize("name", MODULES)
def test_a_card_is_valid_by_the_hubs_rules_and_says_what_goes_in_comes_out_and_is_not_meant(name):
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    report = check_card(card, "metric")
    assert (report.errors, report.warnings) == ([], [])
    title = yaml.safe_load(front_matter(card))["title"]
    assert f"\n# {title}\n" in card
    for section in ("## Inputs", "## Output", "## Limits"):
        assert f"\n{section}\n" in card, section


@pytest.mark.parametrize("tags", [["metric"], ["evaluate"], ["evaluate", "metric", "comparison"]])
def test_a_module_without_its_kind_is_refused(tags):
    assert check_card(f"---\ntitle: x\ntags: {tags}\n---\n", "metric").errors


@pytest.mark.parametrize("name", MODULES)
def test_the_example_on_the_card_gives_what_the_card_says(name):
    code, result = re.findall(r"```python\n(.*?)```", (FOLDER / name / "README.md").read_text(), re.DOTALL)
    lines, call = code.split("\n\n")[0], code.split("\n\n", 2)[-1]
    statements, _, expression = call.partition("\n")
    variables: dict = {}
    exec(f"{lines}\nimport evaluate\n{statements}", variables)
    assert eval(expression, variables) == pytest.approx(eval(result))


def test_top_k_accuracy():
    ranks = LOGITS.argsort(descending=True)
    expected = {f"top_{k}_accuracy": metrics.top_k_accuracy(LOGITS, LABELS, k) for k in (1, 2, 5)}
    assert load("top_k_accuracy").compute(predictions=ranks, references=LABELS, k=(1, 2, 5)) == expected


@pytest.mark.parametrize("k", [1, 2])
def test_mean_class_accuracy(k):
    ranks = LOGITS.argsort(descending=True)
    found = load("mean_class_accuracy").compute(predictions=ranks, references=LABELS, k=k)
    assert found == {"mean_class_accuracy": pytest.approx(metrics.mean_class_accuracy(LOGITS, LABELS, k))}


def test_retrieval_in_batches():
    module, targets = load("retrieval"), torch.tensor([0, 1, 2, 0])
    for row, target in zip(LOGITS, targets, strict=True):
        module.add(prediction=row, reference=target)
    assert module.compute(k=(1, 2)) == metrics.retrieval_figures(LOGITS, targets, (1, 2))


def test_temporal_map_takes_the_videos_in_one_order():
    events = [[{"start": 0.0, "end": 2.0, "label": "a"}], [], [{"start": 1.0, "end": 2.0, "label": "b"}]]
    found = [
        [{"start": 0.0, "end": 1.5, "label": "a", "score": 0.5}],
        [{"start": 0.0, "end": 1.0, "label": "a", "score": 0.9}],
        [],
    ]
    figures = load("temporal_map").compute(predictions=found, references=events, tiou_thresholds=[0.5, 0.8])
    assert figures == {"map_at_0.5": 0.25, "map_at_0.8": 0.0, "average_map": 0.125}
    assert len(load("temporal_map").compute(predictions=found, references=events)) == 11


def test_comparisons():
    first, second, right = [0, 1, 1, 2, 0], [0, 2, 2, 2, 0], [0, 2, 2, 1, 0]
    given = {"predictions1": first, "predictions2": second, "references": right}
    assert load("mcnemar_exact").compute(**given) == {"only_first": 0, "only_second": 2, "p_value": 0.5}
    expected = metrics.paired_bootstrap([1, 0, 0, 0, 1], [1, 1, 1, 0, 1], resamples=100, seed=3)
    assert load("paired_bootstrap").compute(**given, resamples=100, seed=3) == vars(expected)


def test_bootstrap_accuracy():
    found = load("bootstrap_accuracy").compute(predictions=[0, 1, 1, 2], references=[0, 1, 2, 2], resamples=50)
    low, high = metrics.bootstrap_interval([1, 1, 0, 1], resamples=50)
    assert found == {"accuracy": 0.75, "low": low, "high": high}
