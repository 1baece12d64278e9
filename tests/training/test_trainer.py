"""The Trainer on toy models."""

import pytest
import torch
from golden_files import GOLDEN_NAMES, load_golden
from toy_training import toy_arguments, toy_trainer
from toy_vita_clip import save_toy_clip

from vita_clip_hf.convert import vita_clip_from_original
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.training import VitaClipTrainer, VitaClipTrainingArguments


def arguments(folder, **settings) -> VitaClipTrainingArguments:
    defaults = {"output_dir": str(folder), "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    return VitaClipTrainingArguments(**{**defaults, "save_strategy": "no", **settings})


def model_of(golden):
    return vita_clip_from_original(
        golden.state,
        class_input_ids=golden.inputs["tokenized_prompts"],
        num_attention_heads=golden.config["num_heads"],
        text_num_attention_heads=golden.config["text_heads"],
        text_prompt_position=golden.config["text_prompt_pos"],
    )


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_the_trainer_follows_the_original_training(name, tmp_path):
    golden = load_golden(name)
    clips = DecodedClips(golden.inputs["pixel_values"].transpose(1, 2), golden.inputs["labels"])
    settings = {
        "max_steps": golden.config["steps"],
        "learning_rate": golden.config["lr"],
        "weight_decay": golden.config["weight_decay"],
        "per_device_train_batch_size": len(clips),
        "logging_steps": 1,
    }
    model = model_of(golden)
    trainer = VitaClipTrainer(model=model, args=arguments(tmp_path, **settings), train_dataset=clips)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    torch.testing.assert_close(torch.tensor(losses), golden.train["losses"], atol=1e-4, rtol=0)
    with torch.no_grad():
        logits = model.eval()(golden.inputs["pixel_values"].transpose(1, 2)).logits_per_video
    torch.testing.assert_close(logits, golden.train["logits_after"], atol=1e-4, rtol=0)


def test_defaults_are_the_released_recipe(tmp_path):
    settings = arguments(tmp_path)
    assert (settings.learning_rate, settings.weight_decay, settings.max_steps) == (4e-4, 0.05, 30_000)
    assert settings.lr_scheduler_type == "cosine"
    assert settings.warmup_steps == 0


def test_only_what_is_learned_gets_optimizer_state(tmp_path):
    golden = load_golden("full_class_context_end")
    clips = DecodedClips(golden.inputs["pixel_values"].transpose(1, 2), golden.inputs["labels"])
    model = model_of(golden)
    trainer = VitaClipTrainer(
        model=model, args=arguments(tmp_path, max_steps=1, per_device_train_batch_size=2), train_dataset=clips
    )
    trainer.train()
    optimised = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert optimised == {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert len(trainer.optimizer.state) == len(golden.grads) + 2  # one tensor of global prompts there, three here
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)


def test_a_training_that_diverges_ends_with_the_step_and_what_to_change(tmp_path):
    args = toy_arguments(tmp_path / "run", learning_rate=1e38, max_grad_norm=0.0, lr_scheduler_type="constant")
    trainer = toy_trainer(save_toy_clip(tmp_path / "clip"), args)
    with pytest.raises(ValueError, match=r"loss of step 2 is nan: the training has diverged.*--learning_rate than 1e"):
        trainer.train()


def test_bytes_without_a_processor_are_an_error(tmp_path):
    golden = load_golden("clip_baseline")
    clips = DecodedClips(torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8), golden.inputs["labels"])
    trainer = VitaClipTrainer(model=model_of(golden), args=arguments(tmp_path, max_steps=1), train_dataset=clips)
    with pytest.raises(ValueError, match="processing_class"):
        trainer.train()


def test_normalisation_is_the_processors():
    normalize = PixelNormalization(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (2, 4, 3, 5, 6), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (normalize.mean, normalize.std))
    torch.testing.assert_close(normalize(pixels), (pixels / 255 - mean) / std)
    already = torch.randn(2, 4, 3, 5, 6)
    assert normalize(already) is already
