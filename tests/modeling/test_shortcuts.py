"""The shortcuts one by one: each exact, and what each saves counted in bytes or tokens, not in time."""

import pytest
import torch
from torch import nn
from toy_vita_clip import toy_clips, toy_config, toy_model, toy_tokenizer
from transformers.models.clip.modeling_clip import CLIPMLP
from vita_clip_hf.modeling import attention_functions_vita_clip
from vita_clip_hf.modeling.activations_vita_clip import QuickGELU, VitaClipMLP
from vita_clip_hf.modeling.attention_functions_vita_clip import RecomputedAttention, short_attention_forward
from vita_clip_hf.modeling.text_lengths_vita_clip import group_by_length, groups_to_encode

from vita_clip_hf import VitaClipModel

NAMES = ["a", "bc", "def", "ghij", "a longer name", "the longest name of all"]
LABELS = torch.tensor([0, 1])


def saved_bytes(compute) -> int:
    """What `compute` keeps for its backward pass, each storage once; weights are not counted."""
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter) and not (tensor._base is not None and tensor._base.is_leaf):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    assert result.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()(toy_clips(), labels=LABELS).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


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


# ---- attention to few keys ----


@pytest.mark.parametrize("masked", ["causal", "by a mask", "not"])
def test_attention_to_few_keys_is_torchs(masked):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, 7, 8, generator=generator) for _ in range(3))
    mask = (torch.rand(3, 1, 7, 7, generator=generator) > 0.4) | torch.eye(7, dtype=torch.bool)
    mask = mask if masked == "by a mask" else None
    found, _ = short_attention_forward(
        nn.Module(), query, key, value, mask, is_causal=masked == "causal", scaling=8**-0.5, dropout=0.0
    )
    expected = nn.functional.scaled_dot_product_attention(query, key, value, mask, is_causal=masked == "causal")
    torch.testing.assert_close(found, expected.transpose(1, 2))


@pytest.mark.parametrize("sees", [True, False])
def test_a_query_that_sees_no_key_gives_what_torchs_attention_gives(sees):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 3, 8, generator=generator, requires_grad=True) for _ in range(3))
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool).tril()
    mask[0, :, 0] = sees
    attend = nn.functional.scaled_dot_product_attention
    found, _ = short_attention_forward(nn.Module(), query, key, value, mask, scaling=8**-0.5, dropout=0.0)
    expected = attend(query, key, value, mask).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    ours, torchs = (torch.autograd.grad(x.square().sum(), (query, key, value)) for x in (found, expected))
    torch.testing.assert_close(ours, torchs)


def test_in_bfloat16_class_names_and_frames_are_near_float32():
    model = toy_model(labels=NAMES)
    with torch.no_grad():
        expected = model.get_class_features().pooler_output
        found = model.to(torch.bfloat16).get_class_features().pooler_output.float()
    assert nn.functional.cosine_similarity(found, expected).min() > 0.99


# ---- groups of similar length ----


@pytest.mark.parametrize(
    ("group_cost", "expected"),
    [
        (0, [[1, 4], [3], [0, 2]]),
        (3, [[1, 3, 4], [0, 2]]),
        (100, [[0, 1, 2, 3, 4]]),
    ],
)
def test_texts_are_grouped_where_that_costs_less_than_their_padding(group_cost, expected):
    assert group_by_length([9, 3, 9, 4, 3], group_cost) == expected


def test_grouping_is_the_cheapest_of_all_contiguous_groupings():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        lengths = torch.randint(3, 10, (12,), generator=generator).tolist()
        groups = group_by_length(lengths, 7)
        assert sorted(index for group in groups for index in group) == list(range(12))

        def cost(parts) -> int:
            return sum(7 + len(part) * max(part) for part in parts)

        distinct = sorted(set(lengths))
        every = []
        for cuts in range(2 ** (len(distinct) - 1)):
            bounds = [length for bit, length in enumerate(distinct[:-1]) if cuts >> bit & 1]
            part_of = [sum(length > bound for bound in bounds) for length in lengths]
            every.append([[n for n, p in zip(lengths, part_of, strict=True) if p == part] for part in set(part_of)])
        assert cost([[lengths[index] for index in group] for group in groups]) == min(map(cost, every))


def test_chunks_hold_no_more_texts_than_asked_for():
    groups = groups_to_encode([5] * 7 + [9] * 3, 4, torch.device("cpu"))
    assert [len(group) for group in groups] == [4, 4, 2]


@pytest.mark.parametrize("fields", [{}, {"text_prompt_scope": "unified"}, {"text_prompt_length": 0}], ids=str)
@pytest.mark.parametrize("position", ["end", "front", "middle"])
def test_groups_give_the_same_features_and_gradients(monkeypatch, fields, position):
    model = toy_model(labels=NAMES, text_prompt_position=position, **fields)
    runs = []
    for group_cost, count in ((10**6, 1), (0, 6)):
        monkeypatch.setattr("vita_clip_hf.modeling.text_lengths_vita_clip.GROUP_COST_ON_CPU", group_cost)
        seen = []
        handle = model.text_model.register_forward_pre_hook(lambda *call, seen=seen: seen.append(1))
        with torch.no_grad():
            features = model._encode_classes(None, 512)
        handle.remove()
        assert len(seen) == count
        runs.append((features, gradients(model)))
    torch.testing.assert_close(runs[1][0], runs[0][0], atol=1e-5, rtol=0)
    assert_close(runs[1][1], runs[0][1])


def test_with_gradient_checkpointing_training_encodes_classes_in_chunks():
    model = toy_model(labels=NAMES).train()

    def calls() -> int:
        seen: list[int] = []
        handle = model.text_model.register_forward_pre_hook(lambda *call: seen.append(1))
        model.get_class_features(chunk_size=2)
        handle.remove()
        return len(seen)

    assert calls() == 1
    expected = gradients(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert calls() == 3
    assert_close(gradients(model), expected)


# ---- the beginning that classes share ----


CONTEXTS = 4


def unified_model(**fields) -> VitaClipModel:
    return toy_model(labels=NAMES, text_prompt_scope="unified", text_prompt_length=CONTEXTS, **fields)


def encode_plainly(monkeypatch) -> None:
    monkeypatch.setattr("vita_clip_hf.modeling.text_vita_clip.can_share_start", lambda *_: False)


def tokens_per_layer(model: VitaClipModel, encode=VitaClipModel.get_class_features) -> list[int]:
    """How many tokens go through the MLP of each text layer while `encode` runs."""
    counts = [0] * len(model.text_model.encoder.layers)

    def count(index: int, inputs: torch.Tensor) -> None:
        counts[index] += inputs.shape[:-1].numel()

    handles = [
        layer.mlp.register_forward_pre_hook(lambda _, inputs, index=index: count(index, inputs[0]))
        for index, layer in enumerate(model.text_model.encoder.layers)
    ]
    encode(model)
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize(("position", "shared"), [("end", 1 + CONTEXTS), ("middle", 1 + CONTEXTS // 2), ("front", 0)])
def test_what_all_classes_begin_with_goes_through_a_layer_once(monkeypatch, position, shared):
    model = unified_model(text_prompt_position=position)
    found = tokens_per_layer(model)
    encode_plainly(monkeypatch)
    plain = tokens_per_layer(model)
    assert plain == [len(NAMES) * max(model.class_prompts.lengths(model.class_prompts.own_layout))] * 2 + [len(NAMES)]
    saved = shared * (len(NAMES) - 1) if shared else 0
    assert found == [plain[0] - saved, plain[1] - saved, len(NAMES)]


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("position", ["end", "middle"])
@pytest.mark.parametrize("way", ["whole", "groups", "checkpointing"])
def test_a_shared_beginning_gives_the_same_features_and_gradients(monkeypatch, backend, position, way):
    model = unified_model(text_prompt_position=position)
    model.set_attn_implementation(backend)
    if way == "groups":
        monkeypatch.setattr("vita_clip_hf.modeling.text_lengths_vita_clip.GROUP_COST_ON_CPU", 0)
    if way == "checkpointing":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    other = toy_tokenizer()(["x.", "another one."])["input_ids"]

    def features() -> dict[str, torch.Tensor]:
        with torch.no_grad():
            own, others = model._encode_classes(None, 2), model.get_class_features(other).pooler_output
        return {name: nn.functional.normalize(x, dim=-1) for name, x in {"own": own, "others": others}.items()}

    found, found_gradients = features(), gradients(model)
    encode_plainly(monkeypatch)
    assert_close(found, features())
    assert_close(found_gradients, gradients(model))


def test_a_shared_beginning_in_bfloat16_is_near_float32():
    model = unified_model()
    with torch.no_grad():
        expected = model.get_class_features().pooler_output
        found = model.to(torch.bfloat16).get_class_features().pooler_output.float()
    assert nn.functional.cosine_similarity(found, expected).min() > 0.99


def one_start_token_differs(model: VitaClipModel) -> None:
    model.get_class_features([[5, 6, 7], [8, 6, 7]])


def drops_attention(model: VitaClipModel) -> None:
    model.config.text_config.attention_dropout = 0.1
    model.train().get_class_features()


def in_another_backend(model: VitaClipModel) -> None:
    model.set_attn_implementation("flex_attention")
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model.get_class_features()


@pytest.mark.parametrize("encode", [one_start_token_differs, drops_attention, in_another_backend])
def test_where_a_beginning_cannot_be_shared_every_class_has_its_own(monkeypatch, encode):
    model = unified_model()
    found = tokens_per_layer(model, encode)
    encode_plainly(monkeypatch)
    model.class_prompts.feature_cache.clear()
    assert found == tokens_per_layer(model, encode)


@torch.no_grad()
@pytest.mark.parametrize("asked", ["by arguments", "by the config"])
def test_what_is_recorded_of_classes_with_a_shared_beginning_is_of_every_class(asked):
    model, seen = unified_model(), []
    model.set_attn_implementation("eager")
    found = model.get_class_features().pooler_output
    flags = {"output_hidden_states": True, "output_attentions": True}
    if asked == "by arguments":
        add_flags = lambda module, args, kwargs: (args, kwargs | flags)  # noqa: E731
        model.text_model.register_forward_pre_hook(add_flags, with_kwargs=True)
    else:
        for flag in flags:
            setattr(model.config.text_config, flag, True)
    model.text_model.register_forward_hook(lambda module, args, outputs: seen.append(outputs))
    torch.testing.assert_close(model.get_class_features().pooler_output, found, atol=1e-4, rtol=1e-4)
    (outputs,) = seen
    assert len(outputs.hidden_states) == 4
    assert len(outputs.attentions) == 3
    assert {len(recorded) for recorded in (*outputs.hidden_states, *outputs.attentions)} == {len(NAMES)}


# ---- a base in bfloat16 ----


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
    whole = saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss)
    assert whole < 365_000
    model.cast_base(torch.bfloat16)
    assert saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss) < 285_000  # the toy's prompts are large


# ---- what is kept for the backward pass ----


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scores", [1, 10**6])
def test_attention_with_plain_products_backwards_has_the_gradients_of_torchs(masked, scores, monkeypatch):
    monkeypatch.setattr(attention_functions_vita_clip, "MAX_SCORES_AT_ONCE", scores)
    torch.manual_seed(0)
    shapes = ((3, 2, 5, 4), (3, 2, 7, 4), (3, 2, 7, 4))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    mask = torch.tensor([[[6 * [0.0] + [torch.finfo(torch.float64).min]]]], dtype=torch.float64) if masked else None
    torch.testing.assert_close(
        RecomputedAttention.apply(*inputs, mask, 0.7),
        nn.functional.scaled_dot_product_attention(*inputs, mask, scale=0.7),
    )
    assert torch.autograd.gradcheck(lambda *tensors: RecomputedAttention.apply(*tensors, mask, 0.7), inputs)


def plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return (query @ key.transpose(-1, -2)).softmax(-1, dtype=torch.float32).to(query.dtype) @ value


def test_gradients_of_large_scores_in_bfloat16_are_as_near_as_those_of_eager_attention():
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 40, 16) * factor for factor in (3, 3, 1)]
    weight = torch.randn(2, 3, 40, 16)

    def gradients_of(attend, dtype: torch.dtype) -> torch.Tensor:
        leaves = [part.to(dtype, copy=True).requires_grad_() for part in inputs]
        (attend(*leaves).float() * weight).sum().backward()
        return torch.cat([leaf.grad.float().flatten() for leaf in leaves])

    exact = gradients_of(plain_attention, torch.float32)
    ways = (lambda *qkv: RecomputedAttention.apply(*qkv, None, 1.0), plain_attention)
    own, eager = ((gradients_of(way, torch.bfloat16) - exact).norm() for way in ways)
    assert own < 1.2 * eager


def test_training_in_bfloat16_takes_the_plain_products_backwards(monkeypatch):
    monkeypatch.setattr(attention_functions_vita_clip, "MAX_SHORT_KEYS", 1)
    model, calls = toy_model().train(), []
    expected = gradients(model)
    plain = attention_functions_vita_clip._attention_grads
    monkeypatch.setattr(
        attention_functions_vita_clip, "_attention_grads", lambda *args: calls.append(1) or plain(*args)
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(model)
    assert len(calls) >= model.config.vision_config.num_hidden_layers
    own, reference = (torch.cat([grad.flatten() for grad in grads.values()]) for grads in (found, expected))
    assert nn.functional.cosine_similarity(own, reference, dim=0) > 0.99


def test_a_step_keeps_one_tensor_less_for_every_activation(monkeypatch):
    model = toy_model().train()
    activated: list[int] = []
    for module in model.modules():
        if isinstance(module, VitaClipMLP):
            wider = module.fc1.out_features // module.fc1.in_features
            module.register_forward_pre_hook(lambda _, inputs, w=wider: activated.append(w * inputs[0].nbytes))
    kept = saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss)
    expected = sum(activated)
    monkeypatch.setattr(VitaClipMLP, "forward", CLIPMLP.forward)
    monkeypatch.setattr(QuickGELU, "forward", lambda _, x: x * torch.sigmoid(1.702 * x))
    assert saved_bytes(lambda: model(toy_clips(), labels=LABELS).loss) - kept >= expected > 0
