"""The shortcuts of the text side: each exact, and what each saves counted in tokens, not in time."""

import pytest
import torch
from torch import nn
from toy_vita_clip import toy_clips, toy_model, toy_tokenizer
from vita_clip_hf.modeling.text_vita_clip import VitaClipTextEncoder, group_by_length, groups_to_encode

from vita_clip_hf import VitaClipModel

NAMES = ["a", "bc", "def", "ghij", "a longer name", "the longest name of all"]
LABELS = torch.tensor([0, 1])


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()(toy_clips(), labels=LABELS).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


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
        monkeypatch.setattr("vita_clip_hf.modeling.text_vita_clip.GROUP_COST_ON_CPU", group_cost)
        seen = []
        handle = model.text_model.register_forward_pre_hook(lambda *call, seen=seen: seen.append(1))
        with torch.no_grad():
            features = model._encode_classes()
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
    monkeypatch.setattr(VitaClipTextEncoder, "can_share_beginning", lambda *_: False)


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
    assert plain == [len(NAMES) * max(model.class_prompts.layout().lengths)] * 2 + [len(NAMES)]
    saved = shared * (len(NAMES) - 1) if shared else 0
    assert found == [plain[0] - saved, plain[1] - saved, len(NAMES)]


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("position", ["end", "middle"])
@pytest.mark.parametrize("way", ["whole", "groups", "checkpointing"])
def test_a_shared_beginning_gives_the_same_features_and_gradients(monkeypatch, backend, position, way):
    model = unified_model(text_prompt_position=position)
    model.set_attn_implementation(backend)
    if way == "groups":
        monkeypatch.setattr("vita_clip_hf.modeling.text_vita_clip.GROUP_COST_ON_CPU", 0)
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
