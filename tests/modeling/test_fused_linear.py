"""Products in bfloat16 that add bias and residual themselves: the same values, and never for a gradient."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode
from toy_vita_clip import toy_clips, toy_model
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention
from vita_clip_hf.modeling import fused_linear_vita_clip
from vita_clip_hf.modeling.activations_vita_clip import VitaClipMLP
from vita_clip_hf.modeling.attention_products_vita_clip import FusedProducts, attention_products
from vita_clip_hf.modeling.fused_linear_vita_clip import fused_linear, may_fuse
from vita_clip_hf.modeling.layers_vita_clip import VitaClipAttention

NAMES = ["juggling balls", "tai chi"]
needs_operation = pytest.mark.skipif(
    not fused_linear_vita_clip.is_supported(), reason="the processor has no products in bfloat16"
)


def frozen(module_class, implementation: str = "sdpa") -> nn.Module:
    """In bfloat16, with biases that are not small; of the same weights for every class of the same layers."""
    config = toy_model().config.vision_config
    config.hidden_act, config._attn_implementation = "quick_gelu", implementation
    torch.manual_seed(0)
    module = module_class(config).requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.bias)
    return module.to(torch.bfloat16)


def tokens(width: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(1)).to(dtype)


@needs_operation
@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_residual_and_bias_are_added_within_the_product(dtype):
    layer, x = nn.Linear(48, 24).to(torch.bfloat16), tokens(48)
    residual = tokens(24, dtype)
    before = residual.clone()
    exact = nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    torch.testing.assert_close(fused_linear(x, layer.weight, layer.bias), exact.to(torch.bfloat16), atol=0, rtol=8e-3)
    found = fused_linear(x, layer.weight, layer.bias, residual)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), residual.double() + exact, atol=8e-3, rtol=8e-3)
    assert torch.equal(residual, before)
    part = x[:, :2]  # rows that do not follow each other
    torch.testing.assert_close(fused_linear(part, layer.weight, layer.bias, residual[:, :2]), found[:, :2])


@needs_operation
@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_attention_and_mlp_are_clips(autocast, masked):
    for plain_class, own_class in ((CLIPAttention, VitaClipAttention), (CLIPMLP, VitaClipMLP)):
        plain, own = (frozen(made).float() for made in (plain_class, own_class))
        x = tokens(next(plain.parameters()).shape[-1])
        mask = {"attention_mask": torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()} if masked else {}
        mask = mask if own_class is VitaClipAttention else {}
        expected = plain(x.float(), **mask)
        own = own if autocast else own.to(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert may_fuse(x, *(layer for layer in own.children() if isinstance(layer, nn.Linear)))
            found = own(x, residual=x, **mask)
        found, expected = (out[0] if isinstance(out, tuple) else out for out in (found, expected))
        scale = expected.abs().max()
        torch.testing.assert_close(found.float() / scale, (x.float() + expected) / scale, atol=1e-2, rtol=0)


@needs_operation
def test_only_where_nothing_is_learned_and_the_types_agree(monkeypatch):
    attention = frozen(VitaClipAttention)
    x = tokens(attention.embed_dim)
    with torch.no_grad():
        assert isinstance(attention_products(attention, x, sums_to_one=True), FusedProducts)
        assert isinstance(attention_products(attention, x, sums_to_one=False), FusedProducts)
        assert not may_fuse(x.float(), attention.q_proj)
        assert not may_fuse(x, attention.float().q_proj)
        hook = attention.to(torch.bfloat16).q_proj.register_forward_hook(lambda *_: None)
        assert not isinstance(attention_products(attention, x, sums_to_one=True), FusedProducts)
        hook.remove()
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
        assert not may_fuse(x, attention.q_proj)
        monkeypatch.undo()
        with torch.autocast("cpu", torch.float16):
            assert not may_fuse(x, attention.q_proj)
        with forward_ad.dual_level():
            assert not may_fuse(x, attention.q_proj)
        assert may_fuse(x, attention.q_proj)
    assert not may_fuse(x, attention.q_proj)  # what else gives keys may have a gradient


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_who_counts_operations_sees_those_of_every_linear_layer(dtype):
    for module_class in (VitaClipAttention, VitaClipMLP):
        module = frozen(module_class, "eager").to(dtype)
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        x = tokens(layers[0].in_features, dtype)
        with FlopCounterMode(display=False) as counter:
            module(x, residual=x)
        counts = counter.get_flop_counts()["Global"]
        in_linear_layers = sum(
            count for name, count in counts.items() if name in (torch.ops.aten.addmm, torch.ops.aten.mm)
        )
        assert in_linear_layers == sum(2 * 10 * layer.weight.numel() for layer in layers)


def test_a_model_in_bfloat16_gives_the_same_without_the_operation(monkeypatch, request):
    model, clips = toy_model(labels=NAMES).requires_grad_(False).eval(), toy_clips()
    expected = model(clips).logits_per_video
    model = model.to(torch.bfloat16)
    found = []
    request.addfinalizer(fused_linear_vita_clip.is_supported.cache_clear)
    for operation in (fused_linear_vita_clip.OPERATION, None):
        fused_linear_vita_clip.is_supported.cache_clear()
        monkeypatch.setattr(fused_linear_vita_clip, "OPERATION", operation)
        with torch.no_grad():
            found.append(model.eval()(clips.to(torch.bfloat16)).logits_per_video.float())
    for logits in found:
        torch.testing.assert_close(logits, expected, atol=0.3, rtol=0)
