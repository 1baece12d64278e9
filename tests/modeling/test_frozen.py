"""Products with frozen weights computed without calling their modules: the same values, and only where that is so."""

import pytest
import torch
from torch import nn
from toy_vita_clip import toy_clips, toy_model
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention
from vita_clip_hf.modeling import activations_vita_clip
from vita_clip_hf.modeling.activations_vita_clip import VitaClipMLP
from vita_clip_hf.modeling.attention_products_vita_clip import ProductsWithMovedBiases, attention_products
from vita_clip_hf.modeling.layers_vita_clip import VitaClipAttention
from vita_clip_hf.modeling.patches_vita_clip import PatchEmbedding

# ---- patches ----


@pytest.mark.parametrize("size", [(32, 32), (35, 47)])
def test_patches_by_a_product_are_those_of_the_convolution(size):
    torch.manual_seed(0)
    embedding = PatchEmbedding(3, 24, 8)
    pixels = torch.randn(2, 3, *size, requires_grad=True)
    expected = nn.Conv2d.forward(embedding, pixels)
    found = embedding(pixels)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.flatten(2).transpose(1, 2).is_contiguous()
    grads = [torch.autograd.grad(out.square().sum(), (pixels, embedding.weight)) for out in (found, expected)]
    torch.testing.assert_close(*grads, atol=1e-3, rtol=1e-4)


# ---- MLP ----


def frozen_mlps(dtype: torch.dtype = torch.float32) -> tuple[CLIPMLP, VitaClipMLP]:
    config = toy_model().config.vision_config
    config.hidden_act = "quick_gelu"
    torch.manual_seed(0)
    plain, mlp = (made(config).requires_grad_(False).to(dtype) for made in (CLIPMLP, VitaClipMLP))
    mlp.load_state_dict(plain.state_dict())
    return plain, mlp


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("grad", [False, True])
def test_the_mlp_with_its_factors_in_the_products_is_clips(grad, blocks, monkeypatch):
    plain, mlp = frozen_mlps()
    x, residual = (torch.randn(2, 5, plain.fc1.in_features, requires_grad=grad) for _ in range(2))
    monkeypatch.setattr(activations_vita_clip, "BLOCK_BYTES", 10 * plain.fc1.out_features * 4 // blocks)
    before = x.detach().clone(), residual.detach().clone()
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(mlp(x), plain(x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(mlp(x, residual), residual + plain(x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(mlp(x[0, 0]), plain(x[0, 0]), atol=1e-6, rtol=1e-5)
        assert mlp._can_fold_slope(x)
    assert torch.equal(x, before[0])
    assert torch.equal(residual, before[1])
    if grad:
        sums = (mlp(x, residual), residual + plain(x))
        own, expected = (torch.autograd.grad(out.square().sum(), (x, residual)) for out in sums)
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_mlp_is_its_derivative():
    _, mlp = frozen_mlps(torch.float64)
    inputs = [torch.randn(3, 4, mlp.fc1.in_features, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(mlp, inputs)
    assert torch.autograd.gradcheck(mlp, inputs[0])


def test_the_mlp_computes_in_the_precision_of_autocast():
    plain, mlp = frozen_mlps()
    x = torch.randn(2, 5, plain.fc1.in_features, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        outs = [module(x) for module in (mlp, plain)]
    assert outs[0].dtype == outs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outs[0], outs[1], atol=2e-2, rtol=2e-2)
    own, expected = (torch.autograd.grad(out.float().square().sum(), x)[0] for out in outs)
    assert own.dtype == torch.float32
    torch.testing.assert_close(own, expected, atol=5e-2, rtol=5e-2)
    with torch.autocast("cpu", torch.bfloat16):
        added = mlp(x, x)  # a residual in float32 is not rounded
    assert added.dtype == torch.float32
    assert torch.equal(added, x + outs[0])


def test_an_mlp_that_is_trained_has_gradients():
    _, mlp = frozen_mlps()
    mlp.requires_grad_(True)
    mlp(torch.randn(2, 5, mlp.fc1.in_features)).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in mlp.parameters())


# ---- attention ----


def attentions(**config) -> tuple[CLIPAttention, VitaClipAttention]:
    """CLIP's and ours, with the same weights, and biases that are not small."""
    toy = toy_model().config.vision_config
    for name, value in config.items():
        setattr(toy, name, value)
    torch.manual_seed(0)
    plain, own = (made(toy).requires_grad_(False) for made in (CLIPAttention, VitaClipAttention))
    for layer in (plain.q_proj, plain.k_proj, plain.v_proj, plain.out_proj):
        nn.init.normal_(layer.bias)
    own.load_state_dict(plain.state_dict())
    return plain, own


def moves_biases(attention: VitaClipAttention, x: torch.Tensor) -> bool:
    return isinstance(attention_products(attention, x, attention._sums_to_one(None)), ProductsWithMovedBiases)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("grad", [False, True])
def test_biases_of_keys_and_values_need_not_be_added_to_tokens(grad, implementation):
    plain, own = attentions(_attn_implementation=implementation)
    x, residual = (torch.randn(2, 5, plain.embed_dim, requires_grad=grad) for _ in range(2))
    assert moves_biases(own, x)
    before = residual.detach().clone()
    with torch.set_grad_enabled(grad):
        expected = plain(x)[0]
        torch.testing.assert_close(own(x)[0], expected, atol=1e-5, rtol=1e-5)
        added = own(x, residual=residual)[0]
        torch.testing.assert_close(added, residual + expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(residual, before)
    if grad:
        found, wanted = (
            torch.autograd.grad(out.square().sum(), (x, residual)) for out in (added, residual + expected)
        )
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_biases_stay_where_weights_need_not_sum_to_one():
    plain, own = attentions(_attn_implementation="eager", attention_dropout=0.5)
    x = torch.randn(2, 5, plain.embed_dim)
    assert moves_biases(own.eval(), x)
    own.train()
    assert not moves_biases(own, x)
    outs = []
    for module in (own, plain):
        torch.manual_seed(1)
        outs.append(module(x)[0])
    torch.testing.assert_close(*outs, atol=1e-5, rtol=1e-5)
    own.eval()
    own.v_proj.register_forward_hook(lambda *_: None)
    assert not moves_biases(own, x)


@torch.no_grad()
def test_hooks_see_what_a_layer_adds_not_the_sum():
    model = toy_model()
    expected = model.get_video_features(toy_clips()).pooler_output
    layer, seen = model.vision_model.encoder.layers[0], {}
    for name in ("self_attn", "mlp"):
        module = getattr(layer, name)
        module.register_forward_hook(lambda _, inputs, out, name=name: seen.update({name: out}))
    whole = []
    layer.register_forward_hook(lambda _, inputs, out: whole.extend([inputs[0], out]))
    torch.testing.assert_close(model.get_video_features(toy_clips()).pooler_output, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole[0] + seen["self_attn"][0] + seen["mlp"], whole[1])


@pytest.mark.parametrize("grad", [False, True])
def test_layers_of_another_kind_are_called(grad):
    plain, mlp = frozen_mlps()
    x = torch.randn(2, 5, plain.fc1.in_features)
    expected = plain(x)
    with torch.set_grad_enabled(grad):
        mlp.fc1 = nn.Sequential(mlp.fc1)  # has neither weight nor bias of its own
        torch.testing.assert_close(mlp(x), expected)
        mlp.fc2 = nn.Linear(plain.fc2.in_features, plain.fc2.out_features, bias=False).requires_grad_(False)
        mlp.fc2.weight = plain.fc2.weight
        torch.testing.assert_close(mlp(x), expected - plain.fc2.bias, atol=1e-5, rtol=1e-5)


def test_layers_of_others_are_not_given_what_they_are_added_to():
    model = toy_model()
    layer, clips = model.vision_model.encoder.layers[0], toy_clips()
    expected = model.get_video_features(clips).pooler_output
    layer.mlp = nn.Sequential(layer.mlp)
    torch.testing.assert_close(model.get_video_features(clips).pooler_output, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_prompts_can_be_mapped_over():
    """Two sets of prompts by `vmap`, as in ensembles: each as alone."""
    model, clips = toy_model(), toy_clips(1)
    own = {name: weight for name, weight in model.named_parameters() if "prompts" in name and "vision" in name}
    twice = {name: torch.stack([weight, weight + 0.1]) for name, weight in own.items()}

    def features(prompts: dict) -> torch.Tensor:
        return torch.func.functional_call(model.vision_model, prompts, (clips,)).pooler_output

    twice = {name.removeprefix("vision_model."): weight for name, weight in twice.items()}
    found = torch.func.vmap(features)(twice)
    for index in range(2):
        expected = features({name: weight[index] for name, weight in twice.items()})
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-4)


def test_a_model_on_the_meta_device_gives_shapes():
    model = toy_model().to("meta")
    assert model.get_video_features(toy_clips().to("meta")).pooler_output.shape == (2, model.config.projection_dim)


@pytest.mark.parametrize("change", ["hook", "subclass"])
def test_the_mlp_leaves_products_that_are_not_plain_to_themselves(change):
    config = toy_model().config.vision_config
    config.hidden_act = "quick_gelu"
    mlp, calls = VitaClipMLP(config).requires_grad_(False), []
    if change == "hook":
        mlp.fc1.register_forward_hook(lambda *_: calls.append(1))
    else:

        class Adapted(torch.nn.Linear):
            def forward(self, x):
                calls.append(1)
                return super().forward(x)

        mlp.fc2 = Adapted(config.intermediate_size, config.hidden_size)
    mlp(torch.randn(1, 2, config.hidden_size))
    assert calls
