"""Efficient-Prompt through Vita-CLIP's Trainer: it learns the order of frames, resumes, and is served as trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tolerance import assert_computed_equal, assert_stored_equal
from toy_training import LABELS, losses_of, toy_arguments, toy_data
from toy_vita_clip import IMAGE_SIZE, NUM_FRAMES, save_toy_clip, toy_tokenizer
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE, is_prompt

from vita_clip_hf import EfficientPromptForVideoClassification, EfficientPromptModel, VitaClipVideoProcessor
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.evaluation import predict, top_k_accuracy
from vita_clip_hf.models import EfficientPrompt
from vita_clip_hf.training import VitaClipTrainer

VECTORS = {"num_frames": NUM_FRAMES, "prefix_length": 4, "suffix_length": 4}
SIZE = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
PROCESSOR = VitaClipVideoProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=SIZE, num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def trainer_on(clip: Path, folder: Path, labels: list[str], data: DecodedClips, **settings: Any) -> VitaClipTrainer:
    torch.manual_seed(0)
    model = EfficientPromptForVideoClassification.from_pretrained(
        clip, id2label=dict(enumerate(labels)), tokenizer=toy_tokenizer(), num_temporal_heads=4, **VECTORS
    )
    arguments = toy_arguments(folder, **settings)
    return VitaClipTrainer(
        model=model, args=arguments, train_dataset=data, eval_dataset=data, processing_class=PROCESSOR
    )


def reversed_pairs(num_pairs: int, seed: int) -> DecodedClips:
    """A bright bar that moves right, and the same frames backwards: one differs from the other by the order alone."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 60, (num_pairs, NUM_FRAMES, 3, IMAGE_SIZE, IMAGE_SIZE), generator=generator)
    for frame in range(NUM_FRAMES):
        frames[:, frame, :, :, 4 * frame : 4 * frame + 4] += 180
    clips = torch.cat([frames, frames.flip(1)]).to(torch.uint8)
    return DecodedClips(clips, torch.arange(2 * num_pairs) // num_pairs)


def test_it_learns_to_tell_reversed_pairs_apart_and_is_served_as_it_was_trained(clip, tmp_path):
    labels = ["moving right", "moving left"]
    settings = {"max_steps": 40, "per_device_train_batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.01}
    trainer = trainer_on(clip, tmp_path, labels, reversed_pairs(16, seed=0), **settings)
    trainer.train()
    unseen = reversed_pairs(16, seed=1)
    figures = trainer.evaluate(unseen)
    assert figures["eval_top_1"] > 0.95
    trainer.save_model()
    loaded = EfficientPromptModel.from_pretrained(tmp_path).eval()
    found = predict(EfficientPrompt(loaded), unseen, PROCESSOR)
    assert top_k_accuracy(found.logits, found.labels) == figures["eval_top_1"]
    no_layers = {"num_temporal_layers": 0, **VECTORS}
    blind = EfficientPromptModel.from_pretrained(clip, id2label=dict(enumerate(labels)), **no_layers)
    pairs = predict(EfficientPrompt(blind.eval()), unseen, PROCESSOR).logits
    assert_computed_equal(pairs[:16], pairs[16:])


def test_the_base_stays_and_what_is_learned_moves(clip, tmp_path):
    trainer = trainer_on(clip, tmp_path, LABELS, toy_data(), max_steps=2)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    moved = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(is_prompt(name) and name != "logit_scale" for name in moved)
    assert {name.partition(".")[0] for name in moved} == {"temporal_transformer", "class_prompts"}


def test_a_run_that_is_resumed_ends_with_the_same_bits(clip, tmp_path):
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = trainer_on(clip, tmp_path / "whole", LABELS, toy_data(), **settings)
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    assert (checkpoint / ADAPTER_FILE).is_file()
    assert not (checkpoint / "model.safetensors").exists()
    resumed = trainer_on(clip, tmp_path / "resumed", LABELS, toy_data(), **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert_stored_equal(resumed.model.state_dict(), whole.model.state_dict())


def test_text_features_shared_by_the_batches_of_a_step_change_no_loss(clip, tmp_path):
    losses = []
    for share in (False, True):
        settings = {"gradient_accumulation_steps": 2, "share_text_features": share, "max_steps": 4}
        trainer = trainer_on(clip, tmp_path / str(share), LABELS, toy_data(), **settings)
        trainer.train()
        losses.append(losses_of(trainer))
    assert_computed_equal(losses[1].float(), losses[0].float())
