"""The kernels for CPUs: the same values and gradients as the plain layers, under the same names."""

import copy

import pytest
import torch
from torch import nn
from toy_vita_clip import toy_clips, toy_model
from transformers.models.clip.modeling_clip import CLIPMLP
from vita_clip_hf.modeling.cpu_vita_clip import BLOCK, PADDED_SDPA, FoldedMLP, padded_sdpa_forward, use_cpu_kernels
from vita_clip_hf.modeling.layers_vita_clip import QuickGELU

LABELS = torch.tensor([0, 1])


def with_cpu_kernels(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    use_cpu_kernels(model)
    return model


@pytest.mark.parametrize("scope", ["class", "unified"])
def test_the_kernels_give_the_same_logits_and_gradients(scope):
    plain = toy_model(text_prompt_scope=scope)
    fast = with_cpu_kernels(plain)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert fast.vision_model.encoder.layers[0].self_attn.config._attn_implementation == PADDED_SDPA
    with torch.no_grad():
        torch.testing.assert_close(
            fast(toy_clips()).logits_per_video, plain(toy_clips()).logits_per_video, atol=1e-5, rtol=0
        )
    for model in (plain, fast):
        model.train()(toy_clips(), labels=LABELS).loss.backward()
    for (name, weight), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if weight.requires_grad:
            torch.testing.assert_close(other.grad, weight.grad, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("train", [False, True])
def test_in_bfloat16_the_kernels_are_near_float32(train):
    plain = toy_model()
    with torch.no_grad():
        expected = plain.get_video_features(toy_clips()).pooler_output
    fast = with_cpu_kernels(plain).to(torch.bfloat16).train(train)
    with torch.set_grad_enabled(train):
        found = fast.get_video_features(toy_clips().bfloat16()).pooler_output.float()
    assert nn.functional.cosine_similarity(found, expected).min() > 0.99


def test_the_plain_layers_are_off_the_switch_until_it_is_thrown():
    model = toy_model()
    assert not any(isinstance(module, FoldedMLP) for module in model.modules())
    assert model.vision_model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("num_keys", [BLOCK - 2, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("masked", [False, True])
def test_padded_keys_are_seen_by_no_query(num_keys, masked):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 2, 5, 8, generator=generator)
    key, value = (torch.randn(3, 2, num_keys, 8, generator=generator) - 40 for _ in range(2))
    mask = torch.rand(3, 1, 5, num_keys, generator=generator) > 0.2 if masked else None
    found, _ = padded_sdpa_forward(nn.Module(), query, key, value, mask, scaling=8**-0.5, dropout=0.0, is_causal=False)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, mask)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def mlps(dtype: torch.dtype = torch.float32) -> tuple[CLIPMLP, FoldedMLP]:
    config = toy_model().config.vision_config
    config.hidden_act = "quick_gelu"
    torch.manual_seed(0)
    plain = CLIPMLP(config).to(dtype)
    plain.activation_fn = QuickGELU()
    return plain, FoldedMLP(plain)


def test_the_folded_mlp_is_clips_with_all_its_gradients():
    plain, folded = mlps()
    x = torch.randn(2, 5, plain.fc1.in_features, requires_grad=True)
    torch.testing.assert_close(folded(x), plain(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(folded(x[0, 0]), plain(x[0, 0]), atol=1e-6, rtol=1e-5)
    inputs = (x, *plain.parameters())
    own, expected = (torch.autograd.grad(mlp(x).square().sum(), inputs) for mlp in (folded, plain))
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)


def test_the_folded_mlp_computes_in_the_precision_of_autocast():
    plain, folded = mlps()
    x = torch.randn(2, 5, plain.fc1.in_features)
    with torch.autocast("cpu", torch.bfloat16):
        outs = [module(x) for module in (folded, plain)]
    assert outs[0].dtype == outs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outs[0], outs[1], atol=2e-2, rtol=2e-2)


def test_linear_layers_of_another_kind_are_called():
    plain, folded = mlps()
    x, calls = torch.randn(2, 5, plain.fc1.in_features), []
    expected = plain(x)

    class Adapted(nn.Linear):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    adapted = Adapted(plain.fc2.in_features, plain.fc2.out_features)
    adapted.load_state_dict(plain.fc2.state_dict())
    folded.fc2 = adapted
    torch.testing.assert_close(folded(x), expected)
    assert calls == [1]
