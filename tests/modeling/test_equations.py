"""The model against the oracle, which computes the paper's equations one by one, in every configuration."""

from itertools import product
from typing import Any

import pytest
import torch
from plain_vita_clip import PlainVitaClip, build_plain, random_prompts
from tolerance import assert_computed_equal
from torch import nn
from toy_vita_clip import randomise, toy_clips, toy_model

from vita_clip_hf import VitaClipModel
from vita_clip_hf.convert import tensors_from_original, vita_clip_from_original

NUM_CLASSES, NUM_CONTEXTS, NUM_FRAMES, IMAGE_SIZE = 3, 4, 4, 16
SIZES = {
    "image_size": IMAGE_SIZE,
    "patch_size": 8,
    "num_frames": NUM_FRAMES,
    "hidden_size": 24,
    "num_heads": 2,
    "num_layers": 3,
    "embed_dim": 12,
    "num_global_prompts": 3,
    "text_hidden_size": 16,
    "text_heads": 2,
    "text_layers": 3,
    "text_num_prompts": NUM_CONTEXTS,
    "num_classes": NUM_CLASSES,
}
VISUAL_PROMPTS = ("use_summary_token", "use_local_prompts", "use_global_prompts")
VISUAL_CONFIGS = [dict(zip(VISUAL_PROMPTS, on, strict=True)) for on in product((False, True), repeat=3)]
TEXT_CONFIGS = [
    {"text_prompt_pos": position, "text_prompt_CSC": per_class}
    for position, per_class in product(("end", "front", "middle"), (True, False))
]


def name_of(config: dict[str, Any]) -> str:
    return "+".join(str(key if value is True else value) for key, value in config.items() if value) or "none"


def build_pair(**config: Any) -> tuple[PlainVitaClip, VitaClipModel, torch.Tensor]:
    """The oracle and the model with the same large random weights, and the class tokens for the oracle."""
    plain = build_plain(**{**SIZES, **config})
    randomise(plain, std=0.25)
    tokens = random_prompts(NUM_CLASSES, NUM_CONTEXTS)
    model = vita_clip_from_original(
        plain.state_dict(),
        class_input_ids=tokens,
        num_attention_heads=SIZES["num_heads"],
        text_num_attention_heads=SIZES["text_heads"],
        text_prompt_position=config.get("text_prompt_pos", "end"),
    )
    return plain, model, tokens


def assert_same_outputs(plain: PlainVitaClip, model: VitaClipModel, tokens: torch.Tensor, clips: torch.Tensor) -> None:
    with torch.no_grad():
        outputs = model.eval()(clips)
        video, text = plain.visual(clips.transpose(1, 2)), plain.text_features(tokens)
        logits = plain.logits(video, text)
    torch.testing.assert_close(outputs.video_embeds, nn.functional.normalize(video, dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.text_embeds, nn.functional.normalize(text, dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.logits_per_video, logits, atol=1e-5 * plain.logit_scale.exp().item(), rtol=0)


def assert_same_gradients(plain: PlainVitaClip, model: VitaClipModel, tokens: torch.Tensor, clips: torch.Tensor):
    labels = torch.arange(len(clips)) % NUM_CLASSES
    plain.freeze()  # as released, which is how the model comes from the converter
    plain.loss(clips.transpose(1, 2), tokens, labels).backward()
    model.train()(clips, labels=labels).loss.backward()
    expected = {name: weight.grad for name, weight in plain.named_parameters() if weight.requires_grad}
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    expected = tensors_from_original(expected)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        # A key bias shifts all scores of a query alike: its true gradient is zero, and what is left is rounding. That
        # of the scale is a sum whose terms cancel.
        rounding = 1e-5 if name.endswith("k_proj.bias") else 1e-6 if name == "logit_scale" else 1e-8
        tolerance = 1e-4 * gradient.norm().item() + rounding
        assert (found[name] - gradient).norm().item() <= tolerance, name


@pytest.mark.parametrize("config", VISUAL_CONFIGS, ids=name_of)
def test_every_combination_of_visual_prompts_equals_the_equations(config):
    plain, model, tokens = build_pair(**config)
    clips = toy_clips(2, NUM_FRAMES, IMAGE_SIZE)
    assert_same_outputs(plain, model, tokens, clips)
    assert_same_gradients(plain, model, tokens, clips)


@pytest.mark.parametrize("config", TEXT_CONFIGS, ids=name_of)
def test_every_position_and_scope_of_contexts_equals_the_equations(config):
    plain, model, tokens = build_pair(**config)
    clips = toy_clips(2, NUM_FRAMES, IMAGE_SIZE)
    assert_same_outputs(plain, model, tokens, clips)
    assert_same_gradients(plain, model, tokens, clips)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 6, 8])
def test_other_frame_counts_resample_in_time_as_the_equations(num_frames):
    plain, model, tokens = build_pair()
    assert_same_outputs(plain, model, tokens, toy_clips(2, num_frames, IMAGE_SIZE))


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("per_class", [True, False])
def test_both_attention_backends_equal_the_equations(backend, per_class):
    plain, model, tokens = build_pair(text_prompt_CSC=per_class)
    model.set_attn_implementation(backend)
    clips = toy_clips(2, NUM_FRAMES, IMAGE_SIZE)
    assert_same_outputs(plain, model, tokens, clips)
    assert_same_gradients(plain, model, tokens, clips)


def test_conditioning_local_prompts_on_the_class_token_is_the_papers_equation():
    """With an identity for the projection, c_t is z_t,0: both forms of the equation are then the same."""
    by_projection = toy_model(use_summary_token=False)
    for layer in by_projection.vision_model.encoder.layers:
        nn.init.eye_(layer.prompts.cls_projection.weight)
        nn.init.zeros_(layer.prompts.cls_projection.bias)
    by_class_token = toy_model(use_summary_token=False, local_prompt_condition="class_token")
    assert not any("cls_projection" in name for name in by_class_token.state_dict())
    by_class_token.load_state_dict(by_projection.state_dict(), strict=False)
    with torch.no_grad():
        expected, found = by_projection(toy_clips()).video_embeds, by_class_token(toy_clips()).video_embeds
    assert_computed_equal(found, expected)


def test_a_factored_projection_equals_the_full_matrix_that_is_its_product():
    full, factored = toy_model(), toy_model(cls_projection_rank=3)
    full.load_state_dict(factored.state_dict(), strict=False)
    layers = zip(full.vision_model.encoder.layers, factored.vision_model.encoder.layers, strict=True)
    with torch.no_grad():
        for ours, theirs in layers:
            down, up = theirs.prompts.cls_projection
            ours.prompts.cls_projection.weight.copy_(up.weight @ down.weight)
            ours.prompts.cls_projection.bias.copy_(up.bias)
        assert_computed_equal(full(toy_clips()).video_embeds, factored(toy_clips()).video_embeds)


def test_a_summary_attention_of_the_models_width_is_the_papers():
    paper, compact = toy_model(), toy_model(summary_attention_dim=32)
    assert paper.state_dict().keys() == compact.state_dict().keys()
    with torch.no_grad():
        assert_computed_equal(paper(toy_clips()).logits_per_video, compact(toy_clips()).logits_per_video)
