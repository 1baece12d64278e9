"""Training on a frozen base that is stored in bfloat16: what is learned stays in float32."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from toy_training import LABELS, losses_of, toy_arguments, toy_data, toy_trainer
from toy_vita_clip import NUM_FRAMES, save_toy_clip, toy_tokenizer
from transformers.models.clip import CLIPModel

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.training.base_dtype import check_base_dtype
from vita_clip_hf.training.methods import load_model_to_train
from vita_clip_hf.training.options import ModelOptions
from vita_clip_hf.training.recipe_card import describe_training

ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def trained(clip: Path, folder: Path, base_dtype: torch.dtype = torch.bfloat16, resume: str | None = None, **settings):
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, **settings}
    trainer = toy_trainer(clip, toy_arguments(folder, **settings), base_dtype)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder / "final"))
    return trainer


@pytest.mark.parametrize("bf16", [False, True])
def test_what_is_learned_stays_in_float32(clip, tmp_path, bf16):
    trainer = trained(clip, tmp_path, bf16=bf16, ema_decay=0.9)
    for name, weight in trainer.model.named_parameters():
        assert weight.dtype == (torch.float32 if weight.requires_grad else torch.bfloat16), name
    moments = [moment for state in trainer.optimizer.state.values() for moment in state.values()]
    averages = trainer._average.average.values()
    adapters = [tensor for path in tmp_path.rglob(ADAPTER) for tensor in load_file(path).values()]
    assert {tensor.dtype for tensor in (*moments, *averages, *adapters)} == {torch.float32}


@pytest.mark.parametrize("settings", [{}, {"bf16": True}, {"bf16": True, "gradient_accumulation_steps": 2}], ids=str)
def test_the_loss_follows_float32(clip, tmp_path, settings):
    precise = losses_of(trained(clip, tmp_path / "float32", torch.float32, **{**settings, "bf16": False}))
    found = losses_of(trained(clip, tmp_path / "bfloat16", **settings))
    assert (found - precise).abs().max() < 0.05 * precise[0]
    assert not torch.equal(found, precise)


@pytest.mark.parametrize("settings", [{}, {"bf16": True, "ema_decay": 0.9}], ids=str)
def test_resumed_is_bit_equal(clip, tmp_path, settings):
    trained(clip, tmp_path, **settings)
    straight = load_file(tmp_path / "final" / ADAPTER)
    trained(clip, tmp_path, resume=str(tmp_path / "checkpoint-3"), **settings)
    resumed = load_file(tmp_path / "final" / ADAPTER)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_adapter_belongs_to_the_base_in_float32_too(clip, tmp_path):
    trainer = trained(clip, tmp_path)
    loaded = VitaClipForVideoClassification.from_pretrained(tmp_path / "final").eval()
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    clips = trainer._normalize(toy_data(4).pixel_values)
    with torch.no_grad():
        expected, found = (model(clips).logits.softmax(-1) for model in (trainer.model.eval(), loaded))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_gradients_of_batches_are_summed_up_in_float32(clip, tmp_path):
    trainer = toy_trainer(clip, toy_arguments(tmp_path), torch.bfloat16)
    cut = trainer._shared_text.features_for(trainer.model, is_last=False)
    assert cut.is_leaf
    assert cut.dtype == torch.float32
    assert trainer.model.get_class_features().pooler_output.dtype == torch.bfloat16


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_prompts_are_in_float32_whatever_the_base_was_stored_in(clip, tmp_path, base_dtype):
    CLIPModel.from_pretrained(clip).to(torch.float16).save_pretrained(tmp_path)
    toy_tokenizer().save_pretrained(tmp_path)
    model = load_model_to_train(ModelOptions(base=str(tmp_path), base_dtype=base_dtype), LABELS, NUM_FRAMES)
    for name, weight in model.named_parameters():
        assert weight.dtype == (torch.float32 if weight.requires_grad else getattr(torch, base_dtype)), name


def test_the_card_says_so(clip, tmp_path):
    trainer = toy_trainer(clip, toy_arguments(tmp_path, bf16=True))
    for dtype, expected in ((torch.float32, "bfloat16"), (torch.bfloat16, "bfloat16, base in bfloat16")):
        details = describe_training(trainer.args, trainer.state, {}, dtype)
        assert details.training["precision"] == expected


# ---- what does not go together ----


def test_another_precision_is_an_error():
    with pytest.raises(ValueError, match="base_dtype is 'float16'; expected one of float32, bfloat16"):
        ModelOptions(base_dtype="float16")


def test_fp16_is_an_error(clip, tmp_path):
    trainer = toy_trainer(clip, toy_arguments(tmp_path), torch.bfloat16)
    trainer.args.fp16 = True
    with pytest.raises(ValueError, match=r"fp16.*take bf16, or a float32 base"):
        check_base_dtype(trainer.model, trainer.args, trainer.accelerator)


@pytest.mark.parametrize(
    ("way", "message"), [(DistributedType.FSDP, "FSDP2"), (DistributedType.DEEPSPEED, "DeepSpeed")]
)
def test_what_casts_or_joins_all_weights_is_an_error(clip, tmp_path, way, message):
    trainer = toy_trainer(clip, toy_arguments(tmp_path), torch.bfloat16)
    check_base_dtype(trainer.model, trainer.args, trainer.accelerator)
    with pytest.raises(ValueError, match=message):
        check_base_dtype(trainer.model, trainer.args, SimpleNamespace(distributed_type=way, is_fsdp2=False))
