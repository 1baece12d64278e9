"""Efficient-Prompt against the original: the golden files go through the converter into our model."""

from typing import Any

import pytest
import torch
from golden_files import GOLDEN_DIR, Golden, load_golden
from plain_efficient_prompt import plain_text_features, plain_video_features

from vita_clip_hf.convert import efficient_prompt_from_original, efficient_prompt_tensors

FOLDER = GOLDEN_DIR / "efficient_prompt"
TOKEN_EMBEDDING = "clipmodel.token_embedding.weight"


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.safetensors")))
def golden(request) -> Golden:
    return load_golden(request.param, FOLDER, TOKEN_EMBEDDING)


def build(golden: Golden, **changes: Any):
    config = golden.config
    arguments = {
        "class_input_ids": golden.inputs["class_input_ids"],
        "prefix_length": config["prefix"],
        "suffix_length": config["suffix"],
        "num_attention_heads": config["vision_heads"],
        "text_num_attention_heads": config["text_heads"],
        "temporal_num_attention_heads": config["temporal_heads"],
        "id2label": dict(enumerate(config["names"])),
    }
    return efficient_prompt_from_original(golden.state, **{**arguments, **changes})


def test_outputs_equal_the_original(golden):
    model = build(golden)
    with torch.no_grad():
        outputs = model(golden.inputs["pixel_values"], labels=golden.inputs["labels"])
    for ours, theirs in (
        (outputs.video_embeds, "video_features"),
        (outputs.text_embeds, "text_features"),
        (outputs.logits_per_video, "logits"),
        (outputs.loss, "loss"),
    ):
        torch.testing.assert_close(ours, golden.outputs[theirs], atol=1e-5, rtol=0)
    assert model.config.label_names == golden.config["names"]


def test_every_gradient_equals_the_original(golden):
    model = build(golden).train()
    model(golden.inputs["pixel_values"], labels=golden.inputs["labels"]).loss.backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    theirs = efficient_prompt_tensors(golden.grads)
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
    losses = []
    for _ in range(config["steps"]):
        loss = model(golden.inputs["pixel_values"], labels=golden.inputs["labels"]).loss
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(torch.stack(losses), golden.train["losses"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("prefix", "suffix"), [(16, 16), (3, 0), (0, 5), (0, 0)])
@pytest.mark.parametrize("layers", [2, 1, 0])
def test_any_number_of_vectors_and_layers_equals_the_plain_equations(golden, prefix, suffix, layers):
    block = "temporalModelling.resblocks."
    first = {name: tensor for name, tensor in golden.state.items() if name.startswith(block)}
    rest = {name: tensor for name, tensor in golden.state.items() if not name.startswith(block)}
    repeated = {f"{block}{i}.{name.split('.', 3)[3]}": 1.1**i * w for i in range(layers) for name, w in first.items()}
    golden.state.clear()
    golden.state.update(rest | repeated)
    model = build(golden, prefix_length=prefix, suffix_length=suffix)
    config = golden.config
    names = [ids[: ids.index(max(ids)) + 1] for ids in golden.inputs["class_input_ids"].tolist()]
    texts = plain_text_features(golden.state, names, prefix, suffix, config["text_heads"])
    clips = golden.inputs["pixel_values"]
    videos = plain_video_features(golden.state, clips, config["vision_heads"], config["temporal_heads"], layers)
    with torch.no_grad():
        outputs = model(clips)
    normalize = torch.nn.functional.normalize
    torch.testing.assert_close(outputs.text_embeds, normalize(texts, dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.video_embeds, normalize(videos, dim=-1), atol=1e-5, rtol=0)


def test_keys_with_a_prefix_of_parallel_training_are_accepted(golden):
    golden.state.update({f"module.{name}": golden.state.pop(name) for name in list(golden.state)})
    assert build(golden).config.num_frames == golden.config["num_frames"]


def test_unknown_and_missing_tensors_are_errors(golden):
    golden.state["temporalModelling.resblocks.0.surprise"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"resblocks\.0\.surprise"):
        build(golden)
    del golden.state["temporalModelling.resblocks.0.surprise"], golden.state["clipmodel.visual.ln_post.bias"]
    with pytest.raises(ValueError, match=r"post_layernorm\.bias"):
        build(golden)
    del golden.state["clipmodel.visual.proj"]
    with pytest.raises(ValueError, match=r"has no clipmodel\.visual\.proj"):
        build(golden)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 7}, "num_attention_heads=7 does not divide"),
        ({"temporal_num_attention_heads": 7}, "num_temporal_heads=7 does not divide"),
        ({"prefix_length": -1}, "prefix_length must be 0 or more, found -1"),
        ({"prefix_length": 60}, "prefix_length=60 and suffix_length=16 leave no place"),
        ({"prefix_length": 58}, r"text encoder takes 77"),
        ({"class_input_ids": torch.tensor([[8, 9, 0]])}, "expected 0 placeholders and a name"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(golden, changes, message):
    with pytest.raises(ValueError, match=message):
        build(golden, **changes)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("temporalModelling.resblocks.0.attn.in_proj_weight", torch.zeros(64, 64), "queries, keys and values"),
        ("temporalEmbedding.weight", torch.zeros(8, 63), r"temporal_embedding has the shape \(8, 63\)"),
        ("temporalEmbedding.weight", torch.zeros(8), "expected 2 dimensions"),
        ("embedding.weight", torch.zeros(76, 64), r"contexts has the shape \(76, 64\)"),
        ("clipmodel.visual.proj", torch.zeros(0, 64), "expected 2 dimensions"),
        ("temporalModelling.resblocks.999999999.mlp.c_fc.weight", torch.zeros(256, 64), "unexpected"),
    ],
)
def test_tensors_that_do_not_fit_are_errors(golden, name, tensor, message):
    golden.state[name] = tensor
    with pytest.raises(ValueError, match=message):
        build(golden)
