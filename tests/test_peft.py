"""peft installed or not makes no difference: the same script, with peft and with peft out of reach."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from absent import without
from tolerance import assert_computed_equal
from toy_vita_clip import toy_clips, toy_model
from transformers import AutoModel, AutoModelForVideoClassification

from vita_clip_hf import VitaClipModel

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


# ---- low-rank updates of peft on an adapter ----

REBUILD = """
import sys, torch, vita_clip_hf
import inspect
from peft import AutoPeftModel
clips = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    takes_list = "import_allowlist" in inspect.signature(AutoPeftModel.from_pretrained).parameters
    options = {"import_allowlist": ["vita_clip_hf"]} if takes_list else {}  # of packages that its file may name
    model = AutoPeftModel.from_pretrained(sys.argv[1], **options).eval()
    print("RESULT", model(clips).logits_per_video.tolist())
"""


def test_a_low_rank_update_names_the_adapter_it_was_trained_on(folders, tmp_path):
    """In a new process peft rebuilds the adapter, prompts and labels, and then its own update."""
    peft = pytest.importorskip("peft")
    model = VitaClipModel.from_pretrained(folders[0]).eval()
    settings = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    wrapped = peft.get_peft_model(model, settings).eval()
    with torch.no_grad():
        expected = wrapped(toy_clips()).logits_per_video
    wrapped.save_pretrained(tmp_path / "update")
    stored = json.loads((tmp_path / "update" / "adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == str(folders[0])
    assert f"base_model: {folders[0]}" in (tmp_path / "update" / "README.md").read_text()
    printed = subprocess.run(
        [sys.executable, "-c", REBUILD, str(tmp_path / "update")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    [result] = [line.removeprefix("RESULT ") for line in printed.splitlines() if line.startswith("RESULT ")]
    assert_computed_equal(json.loads(result), expected)


def test_the_name_follows_the_active_adapter(folders):
    model = VitaClipModel.from_pretrained(folders[0])
    model.load_adapter(folders[1], adapter_name="other")
    assert model.name_or_path == model.config.name_or_path == str(folders[1])
    model.set_adapter("default")
    assert model.name_or_path == str(folders[0])


@torch.no_grad()
@pytest.mark.parametrize("use_dora", [False, True])
def test_patch_embedding_takes_low_rank_updates(folders, use_dora):
    peft = pytest.importorskip("peft")
    model = VitaClipModel.from_pretrained(folders[0]).eval()
    before = model(toy_clips()).logits_per_video
    settings = peft.LoraConfig(target_modules=["patch_embedding"], init_lora_weights=False, use_dora=use_dora)
    wrapped = peft.get_peft_model(model, settings).eval()
    updated = wrapped(toy_clips()).logits_per_video
    assert (updated - before).abs().max() > 0.01
    assert_computed_equal(wrapped.merge_and_unload()(toy_clips()).logits_per_video, updated)


# ---- what would leave an update out without a word ----


def updated(folder, **settings):
    """An adapter of prompts under an update of peft that changes what comes out."""
    peft = pytest.importorskip("peft")
    model = VitaClipModel.from_pretrained(folder).eval()
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False, **settings))


@pytest.mark.parametrize("loader", [VitaClipModel, AutoModel, AutoModelForVideoClassification])
def test_a_folder_of_peft_is_refused_with_the_remedy(folders, tmp_path, loader):
    """transformers' Auto classes load the base that it names, and the class drops what it does not know."""
    updated(folders[0]).save_pretrained(tmp_path / "update")
    with pytest.raises(ValueError, match=r"update holds an adapter of peft .*AutoPeftModel"):
        loader.from_pretrained(tmp_path / "update")
    with pytest.raises(ValueError, match=r"update holds an adapter of peft"):
        VitaClipModel.from_pretrained(folders[0]).load_adapter(tmp_path / "update", adapter_name="update")


def test_layers_of_peft_are_put_in_by_peft_alone(folders):
    peft = pytest.importorskip("peft")
    model = VitaClipModel.from_pretrained(folders[0])
    with pytest.raises(ValueError, match=r"get_peft_model"):
        model.add_adapter(peft.LoraConfig(target_modules=["q_proj"]), adapter_name="update")
    assert not any("lora" in name for name in model.state_dict()), "the model is as it was"


@pytest.mark.parametrize("adapter_only", [True, False])
@pytest.mark.parametrize("settings", [{}, {"modules_to_save": ["class_prompts"]}], ids=["layers", "modules_to_save"])
def test_a_model_with_layers_of_peft_is_not_saved_as_if_it_had_none(folders, tmp_path, adapter_only, settings):
    inner = updated(folders[0], **settings).base_model.model
    with pytest.raises(ValueError, match=r"peft has changed .*adapter_only=False what merge_and_unload"):
        inner.save_pretrained(tmp_path / "saved", adapter_only=adapter_only)
    assert not (tmp_path / "saved").exists()


def test_an_adapter_saved_over_an_update_of_peft_loads(folders, tmp_path):
    updated(folders[0]).save_pretrained(tmp_path)
    model = VitaClipModel.from_pretrained(folders[0])
    model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.label_names == model.config.label_names
