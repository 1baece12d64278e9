"""The model against the original: the golden files go through the converter into our model."""

import pytest
import torch
from golden_files import GOLDEN_NAMES, Golden, load_golden

from vita_clip_hf.convert import (
    strip_placeholders,
    tensors_from_original,
    vita_clip_from_original,
    vita_clip_to_original,
)

POSITIONS = {"end": "end", "front": "front", "middle": "middle"}


def build(golden: Golden):
    config = golden.config
    return vita_clip_from_original(
        golden.state,
        class_input_ids=golden.inputs["tokenized_prompts"],
        num_attention_heads=config["num_heads"],
        text_num_attention_heads=config["text_heads"],
        text_prompt_position=POSITIONS[config["text_prompt_pos"]],
    )


def our_clips(golden: Golden) -> torch.Tensor:
    return golden.inputs["pixel_values"].transpose(1, 2)  # theirs is (B, 3, T, H, W)


@pytest.fixture(params=GOLDEN_NAMES)
def golden(request) -> Golden:
    return load_golden(request.param)


def test_outputs_equal_the_original(golden):
    model = build(golden)
    with torch.no_grad():
        outputs = model(our_clips(golden), labels=golden.inputs["labels"])
        video = model.get_video_features(our_clips(golden)).pooler_output
        text = model.get_class_features().pooler_output
        zero_shot = model(our_clips(golden), text_embeds=golden.inputs["zero_shot_text_features"])
    torch.testing.assert_close(video, golden.outputs["video_features"], atol=1e-5, rtol=0)
    torch.testing.assert_close(text, golden.outputs["text_features"], atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.logits_per_video, golden.outputs["logits"], atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.loss, golden.outputs["loss"], atol=1e-5, rtol=0)
    torch.testing.assert_close(zero_shot.logits_per_video, golden.outputs["zero_shot_logits"], atol=1e-5, rtol=0)


def test_every_gradient_equals_the_original(golden):
    model = build(golden).train()
    model(our_clips(golden), labels=golden.inputs["labels"]).loss.backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    theirs = tensors_from_original(golden.grads)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        difference = (ours[name] - expected).norm() / expected.norm()
        # A key bias shifts all scores of a query alike: its true gradient is zero, what is left is rounding.
        assert difference < 1e-4 or (name.endswith("k_proj.bias") and ours[name].norm() < 1e-6), (name, difference)


def test_training_follows_the_original(golden):
    config = golden.config
    model = build(golden).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=config["lr"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config["steps"])
    losses = []
    for _ in range(config["steps"]):
        loss = model(our_clips(golden), labels=golden.inputs["labels"]).loss
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(torch.stack(losses), golden.train["losses"], atol=1e-4, rtol=0)
    with torch.no_grad():
        logits = model.eval()(our_clips(golden)).logits_per_video
    torch.testing.assert_close(logits, golden.train["logits_after"], atol=1e-4, rtol=0)


def test_round_trip_is_exact(golden):
    model = build(golden)
    original = vita_clip_to_original(model)
    assert original.keys() == golden.state.keys()
    for name, tensor in tensors_from_original(original).items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_keys_with_the_checkpoints_prefix_are_accepted():
    golden = load_golden(GOLDEN_NAMES[0])
    golden.state.update({f"module.{name}": golden.state.pop(name) for name in list(golden.state)})
    assert build(golden).config.num_frames == golden.config["num_frames"]


def test_unknown_and_missing_tensors_are_errors():
    golden = load_golden(GOLDEN_NAMES[0])
    golden.state["visual.surprise"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"visual\.surprise"):
        build(golden)
    del golden.state["visual.surprise"], golden.state["visual.ln_post.bias"]
    with pytest.raises(ValueError, match=r"post_layernorm\.bias"):
        build(golden)


def test_too_few_placeholders_are_an_error():
    with pytest.raises(ValueError, match="expected 4 placeholders"):
        strip_placeholders(torch.tensor([[8, 1, 1, 5, 9, 0]]), 4)
