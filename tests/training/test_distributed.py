"""Two processes do what one does: DDP on the CPU, over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_run import NUM_EVALUATED, views
from safetensors.torch import load_file
from toy_training import toy_arguments, toy_trainer
from toy_vita_clip import save_toy_clip

from vita_clip_hf import VitaClipForVideoClassification

PROGRAM = Path(__file__).parents[1] / "distributed_run.py"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
# Not FSDP: accelerate 1.15 ignores it for processes on the CPU, which then run DDP.
WAYS = {"single": [sys.executable], "ddp": [*LAUNCH, "--multi_gpu"]}
BFLOAT16_BASE = {f"{way}, bfloat16 base": WAYS[way] for way in ("single", "ddp")}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def runs(clip, tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for way, launch in {**WAYS, **BFLOAT16_BASE}.items():
        folders[way] = tmp_path_factory.mktemp("run")
        base_dtype = "bfloat16" if way in BFLOAT16_BASE else "float32"
        world = "1" if launch == WAYS["single"] else "2"
        command = [*launch, str(PROGRAM), str(clip), str(folders[way]), world, base_dtype]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_MODULES_CACHE": str(folders[way] / "modules")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return folders


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_two_processes_follow_the_loss_curve_of_one(runs):
    one, two = (torch.tensor(result_of(runs[name])["losses"]) for name in ("single", "ddp"))
    assert len(one) == 10
    torch.testing.assert_close(two, one, atol=1e-5, rtol=0)


def test_two_processes_save_the_adapter_of_one(runs):
    one, two = (load_file(runs[name] / "straight" / "adapter_model.safetensors") for name in ("single", "ddp"))
    assert one.keys() == two.keys()
    # A bias of keys shifts all scores of a query alike and has no gradient but rounding, which Adam makes large.
    for name in sorted(name for name in one if not name.endswith("k_proj.bias")):
        tensor = one[name]
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-4)


def test_two_processes_train_prompts_in_float32_on_a_base_in_bfloat16(runs):
    one, two = (torch.tensor(result_of(runs[name])["losses"]) for name in BFLOAT16_BASE)
    torch.testing.assert_close(two, one, atol=0.05, rtol=0)  # sums in another order, rounded to three digits
    assert not torch.equal(one, torch.tensor(result_of(runs["single"])["losses"]))
    adapter = load_file(runs["ddp, bfloat16 base"] / "resumed" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}


@pytest.mark.parametrize("way", [*WAYS, *BFLOAT16_BASE])
def test_resumed_is_bit_equal(runs, way):
    straight, resumed = (load_file(runs[way] / name / "adapter_model.safetensors") for name in ("straight", "resumed"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert not list(runs[way].glob("checkpoint-*/pytorch_model*"))  # no copy of the base


@pytest.mark.parametrize("way", WAYS)
def test_evaluation_is_that_of_a_plain_loop(runs, clip, way):
    model = VitaClipForVideoClassification.from_pretrained(runs[way] / "resumed").eval()
    normalize = toy_trainer(clip, toy_arguments(runs[way] / "unused"))._normalize
    data, best, probabilities = views(), [], []
    for index in range(NUM_EVALUATED):
        with torch.no_grad():
            logits = torch.stack([model(normalize(view[None])).logits[0] for view in data[index]["pixel_values"]])
        probabilities.append(logits.softmax(-1).mean(0))
        best.append(probabilities[-1].argsort(descending=True))
    ranks = [order.tolist().index(label) for order, label in zip(best, data.labels.tolist(), strict=True)]
    figures = result_of(runs[way])["figures"]
    assert figures["eval_top_1"] == sum(rank < 1 for rank in ranks) / NUM_EVALUATED
    assert figures["eval_top_5"] == sum(rank < 5 for rank in ranks) / NUM_EVALUATED
    assert 0 < figures["eval_top_1"] < 1
    assert figures["eval_top_1"] < figures["eval_top_5"] < 1
    predicted = result_of(runs[way])["logits"]  # of `predict`, in the order of the data set
    if predicted is not None:
        torch.testing.assert_close(torch.tensor(predicted).softmax(-1), torch.stack(probabilities), atol=1e-5, rtol=0)
