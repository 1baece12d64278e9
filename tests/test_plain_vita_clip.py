"""The oracle reproduces what the authors' released code computed, in every golden file.

The golden training run, found by trying the alternatives against it: AdamW (torch's default betas and eps, one
group, `weight_decay` on every trainable tensor: norms, biases, prompts and `logit_scale` too) over the same batch
`steps` times; cosine from `lr` to 0 without warm-up, stepped after every optimizer step, so that step k (from 0)
runs at lr (1 + cos(pi k / steps)) / 2. `losses[k]` is the loss before step k; `logits_after` follows the last step.
"""

import pytest
import torch
from golden_files import GOLDEN_NAMES, VOCAB_SIZE, Golden, load_golden
from plain_vita_clip import (
    EOS,
    PERIOD,
    PLACEHOLDER,
    SOS,
    PlainConfig,
    PlainVitaClip,
    PromptLearner,
    build_plain,
    plain_from_golden,
    random_prompts,
)


@pytest.fixture(scope="module", params=GOLDEN_NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return load_golden(request.param)


@pytest.fixture
def plain(golden: Golden) -> PlainVitaClip:
    return plain_from_golden(golden.config, golden.state)


def golden_loss(plain: PlainVitaClip, golden: Golden) -> torch.Tensor:
    inputs = golden.inputs
    return plain.loss(inputs["pixel_values"], inputs["tokenized_prompts"], inputs["labels"])


def assert_near(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def test_golden_files_are_present():
    assert set(GOLDEN_NAMES) >= {"clip_baseline", "full_class_context_end", "global_only_unified_middle"}


def test_golden_token_embedding_covers_the_vocabulary_and_every_input_id(golden: Golden):
    embedding = golden.state["textual.token_embedding.weight"]
    assert embedding.shape == (VOCAB_SIZE, golden.config["text_hidden_size"])
    assert (embedding[golden.inputs["tokenized_prompts"].unique()] != 0).any(dim=1).all()


@torch.no_grad()
def test_video_features_are_the_golden_ones(plain: PlainVitaClip, golden: Golden):
    assert_near(plain.visual(golden.inputs["pixel_values"]), golden.outputs["video_features"])


@torch.no_grad()
def test_text_features_are_the_golden_ones(plain: PlainVitaClip, golden: Golden):
    assert_near(plain.text_features(golden.inputs["tokenized_prompts"]), golden.outputs["text_features"])


@torch.no_grad()
def test_logits_and_loss_are_the_golden_ones(plain: PlainVitaClip, golden: Golden):
    logits = plain(golden.inputs["pixel_values"], golden.inputs["tokenized_prompts"])
    assert_near(logits, golden.outputs["logits"])
    assert_near(golden_loss(plain, golden), golden.outputs["loss"])


@torch.no_grad()
def test_zero_shot_logits_are_the_golden_ones(plain: PlainVitaClip, golden: Golden):
    video = plain.visual(golden.inputs["pixel_values"])
    assert_near(plain.logits(video, golden.inputs["zero_shot_text_features"]), golden.outputs["zero_shot_logits"])


def test_trainable_parameters_are_the_released_codes(plain: PlainVitaClip, golden: Golden):
    trainable = {name for name, parameter in plain.named_parameters() if parameter.requires_grad}
    assert trainable == set(golden.config["trainable"]) == set(golden.grads)


def test_every_gradient_is_the_golden_one(plain: PlainVitaClip, golden: Golden):
    golden_loss(plain, golden).backward()
    parameters = dict(plain.named_parameters())
    for name, expected in golden.grads.items():
        # A key bias shifts all scores of a query alike, so its true gradient is 0 and the golden one is rounding
        # noise of about 1e-12: hence the absolute term.
        tolerance = 1e-4 * expected.abs().max().item() + 1e-9
        assert (parameters[name].grad - expected).abs().max().item() <= tolerance, name


def test_five_training_steps_follow_the_golden_trajectory(plain: PlainVitaClip, golden: Golden):
    config = golden.config
    trainable = [parameter for parameter in plain.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=config["lr"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config["steps"])
    losses = []
    for _ in range(config["steps"]):
        loss = golden_loss(plain, golden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    assert_near(torch.stack(losses), golden.train["losses"], atol=1e-4)
    with torch.no_grad():
        logits = plain(golden.inputs["pixel_values"], golden.inputs["tokenized_prompts"])
    assert_near(logits, golden.train["logits_after"], atol=1e-4)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("end", [SOS, -1, -2, -3, 500, 600, PERIOD, EOS]),
        ("front", [SOS, 500, 600, -1, -2, -3, PERIOD, EOS]),
        ("middle", [SOS, -1, 500, 600, -2, -3, PERIOD, EOS]),
    ],
)
def test_contexts_surround_the_name_as_the_position_says(position: str, expected: list[int]):
    """Each embedding is one number, the token's id, and contexts are -1, -2, -3: the order can be read off."""
    config = PlainConfig(text_hidden_size=1, text_num_prompts=3, text_prompt_CSC=False, text_prompt_pos=position)
    learner = PromptLearner(config)
    learner.ctx.data = torch.tensor([[-1.0], [-2.0], [-3.0]])
    ids = torch.tensor([[SOS, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, 500, 600, PERIOD, EOS, 0, 0]])
    prompt = learner(ids[..., None].float(), ids.argmax(dim=-1))
    assert prompt[0, :, 0].tolist() == [*expected, 0, 0]


TINY_SIZES = {
    "image_size": 16,
    "patch_size": 8,
    "num_frames": 4,
    "hidden_size": 8,
    "num_heads": 2,
    "num_layers": 2,
    "embed_dim": 6,
    "text_hidden_size": 8,
    "text_heads": 2,
    "text_layers": 1,
    "num_classes": 3,
}


def test_a_random_model_takes_released_names_with_prefix_and_derived_tensors():
    model, other = build_plain(seed=1, **TINY_SIZES), build_plain(seed=2, **TINY_SIZES)
    released = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    released |= {f"module.prompt_learner.token_{part}": torch.zeros(3, 1, 8) for part in ("prefix", "suffix")}
    other.load_released(released)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())


def test_cls_proj_is_learned_unless_the_released_behaviour_is_asked_for():
    def learned(train_cls_proj: bool) -> list[bool]:
        model = build_plain(train_cls_proj=train_cls_proj, **TINY_SIZES)
        return [parameter.requires_grad for name, parameter in model.named_parameters() if "cls_proj" in name]

    assert learned(True) == [True] * 4
    assert learned(False) == [False] * 4


def test_sizes_are_those_measured_on_the_released_code():
    """ViT-B/16, 8 frames, 400 classes: 186.9 M parameters, 30.2 M of them learned, 7.1 M more with `cls_proj`."""
    with torch.device("meta"):
        model = PlainVitaClip(PlainConfig())

    def millions_learned(train_cls_proj: bool) -> float:
        model.freeze(train_cls_proj)
        return sum(each.numel() for each in model.parameters() if each.requires_grad) / 1e6

    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 186.9
    assert round(millions_learned(train_cls_proj=False), 1) == 30.2
    assert round(millions_learned(train_cls_proj=True) - millions_learned(train_cls_proj=False), 1) == 7.1


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [2, 4, 8])
def test_clips_of_other_lengths_give_finite_logits(num_frames: int):
    model = build_plain(**TINY_SIZES)
    logits = model(torch.randn(2, 3, num_frames, 16, 16), random_prompts(3, num_prompts=8))
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()
