"""peft installed or not makes no difference: the same script, with peft and with peft out of reach."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from absent import without
from tolerance import assert_computed_equal
from toy_vita_clip import toy_model

SCRIPT = """
import json, sys, torch
import vita_clip_hf
from transformers import AutoModel, AutoModelForVideoClassification
from transformers.utils import is_peft_available
torch.manual_seed(0)
clips = torch.randn(2, 4, 3, 16, 16)
model = AutoModel.from_pretrained(sys.argv[1]).eval()
model.load_adapter(sys.argv[2], adapter_name="other")
with torch.no_grad():
    other = model(clips).logits_per_video
    model.set_adapter("default")
    first = model(clips).logits_per_video
    with model.disable_adapter():
        bare = model(clips).logits_per_video
    classified = AutoModelForVideoClassification.from_pretrained(sys.argv[2]).eval()(clips).logits
print(json.dumps({"peft": is_peft_available(), "logits": [t.tolist() for t in (first, other, bare, classified)]}))
"""


def run(prologue: str, *folders) -> dict:
    command = [sys.executable, "-c", prologue + SCRIPT, *map(str, folders)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two adapters on one base."""
    folder = tmp_path_factory.mktemp("peft")
    model = toy_model()
    model.save_pretrained(folder / "base", adapter_only=False)
    model.config.base_model_name_or_path = str(folder / "base")
    for name in ("first", "other"):
        model.save_pretrained(folder / name)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(0.1 * torch.randn_like(weight))
    return folder / "first", folder / "other"


def test_peft_makes_no_difference(folders):
    if importlib.util.find_spec("peft") is None:
        pytest.skip("peft is not installed: there is nothing to compare with (it comes with the extra dev)")
    with_peft, without_peft = run("", *folders), run(without("peft"), *folders)
    assert with_peft["peft"]
    assert not without_peft["peft"]
    assert_computed_equal(with_peft["logits"], without_peft["logits"])
    first, other, _, classified = torch.tensor(with_peft["logits"])
    assert (first - other).abs().max() > 0.01
    assert_computed_equal(classified, other)
