"""Attention maps: the model's own weights, whatever attention it runs with."""

import pytest
import torch
from tolerance import assert_computed_equal
from toy_vita_clip import ALL_PROMPTS_OFF, toy_clips, toy_model

from vita_clip_hf.visualize.attention import attention_maps


def eager_attentions(model, clip):
    model.set_attn_implementation("eager")
    return model.vision_model(clip[None], all_tokens=True, output_attentions=True).attentions


@torch.no_grad()
def test_maps_equal_the_attentions_that_the_model_returns():
    model, clip = toy_model(), toy_clips()[0]
    maps = attention_maps(model, clip)
    expected = eager_attentions(model, clip)
    assert_computed_equal(maps.class_token, torch.stack([layer[:, :, 0] for layer in expected]))


@torch.no_grad()
def test_the_class_token_of_the_last_layer_is_the_one_that_the_model_reads():
    model, clip = toy_model(), toy_clips()[0]
    model.set_attn_implementation("eager")
    read = model.vision_model(clip[None], output_attentions=True).attentions[-1]  # computed for this token alone
    assert_computed_equal(attention_maps(model, clip).class_token[-1], read[:, :, 0])


@torch.no_grad()
def test_the_summary_token_attends_as_if_it_stood_among_the_tokens():
    """Equation (5) written out: all tokens and prompts are queries, and the row of the summary token is taken."""
    model, clip = toy_model(num_layers=2), toy_clips()[0]
    maps = attention_maps(model, clip)
    layer = model.vision_model.encoder.layers[0]
    tokens = model.vision_model.pre_layrnorm(model.vision_model.embeddings(clip[None]))
    summary, local_, global_ = layer.prompts(tokens[None, :, 0])
    frames = len(clip)
    everything = torch.cat(
        [tokens, summary[0], local_[0].expand(frames, -1, -1), global_[0].expand(frames, -1, -1)], dim=1
    )
    normed = layer.layer_norm1(everything)
    heads = model.config.vision_config.num_attention_heads
    query, key = (
        projection(normed).unflatten(-1, (heads, -1)).transpose(1, 2)
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj)
    )
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    assert_computed_equal(maps.summary_token[0], weights[:, :, tokens.shape[1]])


def test_shares_of_all_kinds_of_keys_sum_to_one():
    maps = attention_maps(toy_model(), toy_clips()[0])
    shares = maps.shares(maps.class_token)
    assert list(shares) == ["class token", "patches", "summary token", "local prompts", "global prompts"]
    assert_computed_equal(sum(shares.values()), torch.ones(3))


def test_rollout_is_a_distribution_over_the_patches_of_each_frame():
    rollout = attention_maps(toy_model(), toy_clips()[0]).rollout
    assert rollout.shape == (4, 2, 2)
    assert_computed_equal(rollout.sum(dim=(1, 2)), torch.ones(4))


@torch.no_grad()
def test_rollout_of_one_layer_is_the_attention_itself():
    model, clip = toy_model(num_layers=1), toy_clips()[0]
    to_patches = eager_attentions(model, clip)[0].mean(dim=1)[:, 0, 1:5]
    expected = to_patches / to_patches.sum(dim=-1, keepdim=True)
    assert_computed_equal(attention_maps(model, clip).rollout.flatten(1), expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_model_keeps_its_attention(attention):
    model = toy_model()
    model.set_attn_implementation(attention)
    attention_maps(model, toy_clips()[0])
    assert model.config.vision_config._attn_implementation == attention
    assert model.config.text_config._attn_implementation == attention


def test_without_prompts_there_is_no_summary_token():
    maps = attention_maps(toy_model(**ALL_PROMPTS_OFF), toy_clips()[0])
    assert maps.summary_token is None
    assert maps.keys == (("class token", 1), ("patches", 4))


def test_a_batch_or_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match="Expected a clip"):
        attention_maps(toy_model(), toy_clips())
    with pytest.raises(ValueError, match="training mode"):
        attention_maps(toy_model().train(), toy_clips()[0])
