"""
Checkpoints that version 0.1.0 wrote, before `modeling/` was ordered anew: loaded as that version loaded them.
`checkpoints_0_1/make.py` says how they were made.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerance import assert_computed_equal, assert_stored_equal
from transformers import AutoModel, AutoTokenizer

from vita_clip_hf import VitaClipModel

FOLDER = Path(__file__).resolve().parents[1] / "checkpoints_0_1"


def stored_tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All tensors of the model, those in int8 as version 0.1.0 restored them."""
    tensors = {}
    for file in ("base/model.safetensors", "model.safetensors", "adapter_model.safetensors"):
        if (checkpoint / file).is_file():
            tensors |= load_file(checkpoint / file)
    for name, tensor in load_file(checkpoint / "expected.safetensors").items():
        if name.startswith("restored."):
            name = name.removeprefix("restored.")
            assert tensors[name].dtype == torch.int8
            tensors[name] = tensor
            del tensors[f"{name}.scale"]
    return tensors


@pytest.mark.parametrize("cls", [VitaClipModel, AutoModel])
@pytest.mark.parametrize("name", ["adapter_int8", "full_float32"])
def test_every_tensor_is_bit_equal_and_logits_are_the_same(name, cls):
    model = cls.from_pretrained(FOLDER / name).eval()
    assert_stored_equal(model.state_dict(), stored_tensors(FOLDER / name))
    expected = load_file(FOLDER / name / "expected.safetensors")
    with torch.no_grad():
        logits = model(expected["pixel_values"].float()).logits_per_video
    assert_computed_equal(logits, expected["logits"])


def test_what_is_saved_again_is_what_was_stored(tmp_path):
    VitaClipModel.from_pretrained(FOLDER / "full_float32").save_pretrained(tmp_path / "full")
    before, after = (
        load_file(folder / "model.safetensors") for folder in (FOLDER / "full_float32", tmp_path / "full")
    )
    assert_stored_equal(after, before)


def test_prompts_may_be_begun_on_their_base():
    model = VitaClipModel.from_pretrained(FOLDER / "adapter_int8" / "base", id2label={0: "jump", 1: "sing"})
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "adapter_int8" / "base")
    assert model.config.label_token_ids == tokenizer(["jump.", "sing."])["input_ids"]
