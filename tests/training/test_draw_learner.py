"""Efficient-Prompt on a draw: it learns, from fresh first values each time, and says what its recipe cannot be."""

import pytest
import torch
from toy_vita_clip import save_toy_clip

from vita_clip_hf.evaluation.features import FeatureStore
from vita_clip_hf.evaluation.learned_draws import Task
from vita_clip_hf.models import VideoFeatures
from vita_clip_hf.training import DrawRecipe, EfficientPromptLearner
from vita_clip_hf.training.draw_learner import load_recipe

NAMES = ["sit down", "stand up"]
RECIPE = DrawRecipe(prefix_length=2, suffix_length=2, num_temporal_heads=4, max_steps=60, learning_rate=0.01)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_toy_clip(tmp_path_factory.mktemp("clip"), max_position_embeddings=77)


def reversed_pairs(folder, seed: int = 0) -> tuple[FeatureStore, list[str], list[int]]:
    """Clips of one class are those of the other played backwards: no mean of frames tells them apart."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(-1, 1, 4)[:, None] * torch.randn(20, generator=generator)
    noise = torch.randn(12, 2, 4, 20, generator=generator)
    frames = torch.stack([ramp if row % 2 == 0 else ramp.flip(0) for row in range(12)])[:, None] + 0.05 * noise
    store = FeatureStore(folder, {"seed": seed})
    videos = [f"video {row}" for row in range(12)]
    store.add(videos, VideoFeatures(frames, frames.mean(dim=2)), torch.zeros(12, 2, 4))
    return store, videos, [row % 2 for row in range(12)]


def task_of(videos, labels, seed=0) -> Task:
    return Task(0, seed, NAMES, videos[:6], labels[:6], videos[6:], labels[6:])


def accuracy(learner, store, videos, labels) -> float:
    logits = learner.learn(task_of(videos, labels), store)
    assert logits.shape == (6, 2, 2)
    return (logits.softmax(-1).mean(1).argmax(-1) == torch.tensor(labels[6:])).float().mean().item()


def test_order_in_time_is_learned_where_the_mean_of_frames_says_nothing(clip, tmp_path):
    store, videos, labels = reversed_pairs(tmp_path)
    assert accuracy(EfficientPromptLearner(clip, 4, RECIPE), store, videos, labels) == 1.0


def test_a_draw_does_not_depend_on_those_before(clip, tmp_path):
    store, videos, labels = reversed_pairs(tmp_path)
    learner = EfficientPromptLearner(clip, 4, RECIPE)
    alone = EfficientPromptLearner(clip, 4, RECIPE).learn(task_of(videos, labels, seed=5), store)
    learner.learn(task_of(videos, labels), store)
    state = torch.random.get_rng_state()
    torch.testing.assert_close(learner.learn(task_of(videos, labels, seed=5), store), alone)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = learner.learn(task_of(videos, labels, seed=6), store)
    assert not torch.allclose(other, alone)


def test_first_values_are_those_of_the_method(clip):
    learner = EfficientPromptLearner(clip, 4, DrawRecipe(num_temporal_heads=4))
    learner.renew(1)
    contexts, temporal = learner.model.class_prompts.contexts, learner.model.temporal_transformer
    assert contexts.std().item() == pytest.approx(0.01, rel=0.1)
    assert temporal.temporal_embedding.std().item() == pytest.approx(0.01, rel=0.4)
    assert (temporal.layers[0].layer_norm1.weight == 1).all()
    assert (temporal.layers[0].mlp.fc1.bias == 0).all()
    assert 0 < temporal.layers[0].self_attn.q_proj.weight.std() < 1
    before = contexts.clone()
    learner.renew(2)
    assert not torch.equal(learner.model.class_prompts.contexts, before)


def test_only_what_the_method_learns_changes(clip, tmp_path):
    store, videos, labels = reversed_pairs(tmp_path)
    learner = EfficientPromptLearner(clip, 4, RECIPE)
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    learner.learn(task_of(videos, labels), store)
    changed = {name for name, tensor in learner.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("class_prompts.", "temporal_transformer.")) for name in changed)
    assert learner.model.logit_scale.item() == pytest.approx(torch.tensor(1 / 0.07).log().item())


def test_vectors_alone_can_be_learned(clip, tmp_path):
    store, videos, labels = reversed_pairs(tmp_path)
    learner = EfficientPromptLearner(clip, 4, DrawRecipe(num_temporal_layers=0, max_steps=2))
    assert learner.facts["trained_parameters"] == 77 * 24
    assert learner.learn(task_of(videos, labels), store).isfinite().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_steps: 0", "max_steps is 0; expected a whole number at least 1"),
        ("learning_rate: -1", "learning_rate is -1; expected a number more than 0"),
        ("prefix_length: two", "prefix_length is 'two'"),
        ("- 3", "expected lines of `name: value`, found list"),
        ("batch_size: 3", "a draw has no setting 'batch_size'; expected some of prefix_length"),
        ("a: [", "is not YAML"),
        ("{prefix_length: 0, suffix_length: 0, num_temporal_layers: 0}", "nothing to learn"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_named(tmp_path, text, message):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_recipe(tmp_path / "recipe.yaml")
    assert "recipe.yaml" in str(error.value)


def test_a_recipe_that_does_not_fit_the_clip_is_named(clip):
    with pytest.raises(ValueError, match="num_temporal_heads=8 does not divide"):
        EfficientPromptLearner(clip, 4)
    assert load_recipe(None) == DrawRecipe()
