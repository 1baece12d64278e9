"""A base in bfloat16 under prompts in float32, by `cast_base`."""

import pytest
import torch
from saved_tensors import saved_bytes
from torch import nn
from toy_vita_clip import toy_clips, toy_model

LABELS = torch.tensor([0, 1])


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()(toy_clips(), labels=LABELS).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def train(model: nn.Module, steps: int = 12) -> list[float]:
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-3)
    losses = []
    for _ in range(steps):
        loss = model.train()(toy_clips(), labels=LABELS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_base_in_bfloat16_leaves_what_is_trained():
    model = toy_model()
    trained = model.vision_model.post_layernorm.requires_grad_(True)
    model.cast_base(torch.bfloat16)
    assert trained.weight.dtype == trained.bias.dtype == torch.float32
    assert model.visual_projection.weight.dtype == torch.bfloat16


def test_a_base_in_integers_is_not_cast():
    model = toy_model()
    model.text_projection.weight = nn.Parameter(torch.zeros(20, 24, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ValueError, match=r"quantized base cannot be cast to torch\.bfloat16"):
        model.cast_base(torch.bfloat16)
    assert model.visual_projection.weight.dtype == torch.float32


def test_a_base_in_bfloat16_leaves_the_adapters_of_peft_in_float32():
    peft = pytest.importorskip("peft")
    model = toy_model()
    peft.get_peft_model(model, peft.LoraConfig(target_modules=r"text_model.*\.q_proj"))
    model.cast_base(torch.bfloat16)
    adapters = [weight for name, weight in model.named_parameters() if "lora" in name]
    assert {weight.dtype for weight in adapters} == {torch.float32}
    model.train()(toy_clips(), labels=LABELS).loss.backward()
    assert all(weight.grad is not None for weight in adapters)


def test_a_base_in_bfloat16_leaves_prompts_and_their_gradients_in_float32():
    model = toy_model()
    model.cast_base(torch.bfloat16)
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    assert {weight.dtype for weight in frozen} == {torch.bfloat16}
    assert {weight.dtype for weight in learned} == {torch.float32}
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model).values())
    assert model(toy_clips()).logits_per_video.dtype == torch.float32


def test_training_on_a_base_in_bfloat16_follows_the_loss_of_float32():
    expected = train(toy_model())
    model = toy_model()
    model.cast_base(torch.bfloat16)
    found = train(model)
    assert expected[-1] < 0.5 * expected[0]
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 0.05 * expected[0]


def test_a_step_keeps_no_more_than_this_and_less_on_a_base_in_bfloat16():
    model = toy_model().train()
    whole = saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss, model)
    assert whole < 365_000
    model.cast_base(torch.bfloat16)
    assert saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss, model) < 285_000  # the toy's prompts are large
