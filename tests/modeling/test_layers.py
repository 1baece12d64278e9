"""The attention, the activation and the layer: each exact, and what each saves counted in bytes, not in time."""

import torch
from saved_tensors import saved_bytes
from toy_vita_clip import toy_clips, toy_config, toy_model
from transformers.models.clip.modeling_clip import CLIPAttention
from vita_clip_hf.modeling.layers_vita_clip import QuickGELU, VitaClipAttention, as_autocast

from vita_clip_hf import VitaClipModel

LABELS = torch.tensor([0, 1])

# ---- attention ----


def test_attention_without_prompts_is_clips():
    config = toy_model().config.vision_config
    torch.manual_seed(0)
    plain, own = CLIPAttention(config), VitaClipAttention(config)
    own.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, plain.embed_dim)
    torch.testing.assert_close(own(x)[0], plain(x)[0])


def test_tokens_are_cast_once_for_the_products_of_an_attention():
    x = torch.randn(2, 3)
    assert as_autocast(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert as_autocast(x).dtype == torch.bfloat16
        assert as_autocast(x.double()).dtype == torch.float64
        assert as_autocast(x.to("meta")).dtype == torch.float32


# ---- activation ----


def test_the_activation_and_its_two_derivatives_are_those_of_its_equation():
    x = torch.linspace(-6, 6, 31, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(QuickGELU()(x), x * torch.sigmoid(1.702 * x))
    assert torch.autograd.gradcheck(QuickGELU(), x)
    assert torch.autograd.gradgradcheck(QuickGELU(), x)


def test_the_activation_keeps_its_input_only():
    x = torch.randn(16, 64, requires_grad=True)
    assert saved_bytes(lambda: QuickGELU()(x * 1)) == x.nbytes
    assert saved_bytes(lambda: (y := x * 1) * torch.sigmoid(1.702 * y)) == 2 * x.nbytes


def test_the_activation_of_another_base_is_left_alone():
    config = toy_config()
    config.vision_config.hidden_act = "gelu"
    model = VitaClipModel(config)
    assert not any(isinstance(module, QuickGELU) for module in model.vision_model.modules())
    assert any(isinstance(module, QuickGELU) for module in model.text_model.modules())


def test_a_step_keeps_one_tensor_less_for_every_activation(monkeypatch):
    model = toy_model().train()
    activated: list[int] = []
    for module in model.modules():
        if isinstance(module, QuickGELU):
            module.register_forward_pre_hook(lambda _, inputs: activated.append(inputs[0].nbytes))
    kept = saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss, model)
    expected = sum(activated)
    monkeypatch.setattr(QuickGELU, "forward", lambda _, x: x * torch.sigmoid(1.702 * x))
    assert saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss, model) - kept >= expected > 0


# ---- the layer ----


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
