"""Classes of a model: other ones, many of them, and where their contexts come from."""

import json

import pytest
import torch
from tolerance import assert_computed_equal, assert_stored_equal
from torch import nn
from toy_vita_clip import LABELS, toy_clips, toy_model, toy_tokenizer
from vita_clip_hf.modeling.labels_vita_clip import embed_labels, load_tokenizer_of, tokenize_labels

from vita_clip_hf import VitaClipModel

TOKENIZER = toy_tokenizer()


def token_ids(*labels: str) -> list[list[int]]:
    return tokenize_labels(TOKENIZER, list(labels))


@torch.no_grad()
def class_features(model: VitaClipModel) -> torch.Tensor:
    return model.get_class_features().pooler_output


def test_underscores_are_spaces_and_a_full_stop_ends_the_name():
    assert token_ids("ride_bike") == TOKENIZER(["ride bike."])["input_ids"]


# ---- other classes ----


def test_known_classes_keep_their_contexts_and_features():
    model = toy_model()
    before, contexts = class_features(model), model.class_prompts.contexts.detach()
    model.set_labels(["swim", "jump", "ride_bike"], TOKENIZER)
    assert torch.equal(model.class_prompts.contexts[0], contexts[2])
    assert torch.equal(model.class_prompts.contexts[2], contexts[0])
    after = class_features(model)
    assert_computed_equal(after[[2, 0]], before[[0, 2]])
    assert model.config.label_names == ["swim", "jump", "ride_bike"]
    assert model.config.label2id == {"swim": 0, "jump": 1, "ride_bike": 2}
    assert model.config.num_labels == 3
    assert model.config.label_token_ids == token_ids("swim", "jump", "ride_bike")


def test_new_classes_start_from_the_mean_of_the_old():
    model = toy_model()
    mean = model.class_prompts.contexts.detach().mean(dim=0)
    model.set_labels(["jump", "swim"], TOKENIZER)
    assert torch.equal(model.class_prompts.contexts[0], mean)


def test_new_classes_can_start_from_words():
    model = toy_model()
    mean, swim = model.class_prompts.contexts.detach().mean(dim=0), model.class_prompts.contexts[2].detach()
    model.set_labels(["jump", "swim"], TOKENIZER, context_words="of a")
    words = model.text_model.embeddings.token_embedding(
        torch.tensor(TOKENIZER("of a", add_special_tokens=False)["input_ids"])
    )
    assert torch.equal(model.class_prompts.contexts[0, : len(words)], words)
    assert torch.equal(model.class_prompts.contexts[0, len(words) :], mean[len(words) :])
    assert torch.equal(model.class_prompts.contexts[1], swim)


def test_the_first_classes_of_a_model_start_as_its_initialisation_does():
    config = toy_model().config
    config.label_token_ids = None
    model = VitaClipModel(config).eval()
    model.set_labels(LABELS, TOKENIZER)
    assert model.class_prompts.contexts.std().item() == pytest.approx(0.02, rel=0.2)
    assert class_features(model).shape == (3, 20)


def test_unified_contexts_stay_whatever_the_classes():
    model = toy_model(text_prompt_scope="unified")
    contexts = model.class_prompts.contexts.detach()
    before = class_features(model)
    model.set_labels(["jump", "swim"], TOKENIZER)
    assert torch.equal(model.class_prompts.contexts, contexts)
    assert_computed_equal(class_features(model)[1], before[2])


def test_logits_and_gradients_follow_the_new_classes():
    model = toy_model()
    model.set_labels(["jump", "swim", "run", "sit"], TOKENIZER)
    outputs = model.train()(toy_clips(), labels=torch.tensor([3, 0]))
    assert outputs.logits_per_video.shape == (2, 4)
    outputs.loss.backward()
    assert model.class_prompts.contexts.grad.shape == (4, 8, 24)
    assert model.class_prompts.contexts.requires_grad


def test_new_classes_take_the_models_precision():
    model = toy_model().to(torch.bfloat16)
    model.set_labels(["jump"], TOKENIZER)
    assert model.class_prompts.contexts.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("labels", "message"),
    [([], "empty"), (["a", "a"], "'a' more than once"), (["a", ""], "'' at position 1"), (["x" * 40], "takes 40")],
)
def test_bad_labels_leave_the_model_as_it_was(labels, message):
    model = toy_model()
    before = class_features(model)
    with pytest.raises(ValueError, match=message):
        model.set_labels(labels, TOKENIZER)
    assert model.config.label_names == LABELS
    assert_stored_equal(model.state_dict(), toy_model().state_dict())
    assert_computed_equal(class_features(model), before)


def test_labels_need_a_tokenizer_from_somewhere():
    with pytest.raises(OSError, match="Give the argument tokenizer"):
        toy_model().set_labels(["a"])


# ---- classes that were never trained ----


@torch.no_grad()
@pytest.mark.parametrize("position", ["end", "front", "middle"])
def test_unified_contexts_apply_to_unseen_classes(position):
    model = toy_model(text_prompt_scope="unified", text_prompt_position=position)
    unseen = model.get_class_features(label_token_ids=token_ids("swim", "a new one")).pooler_output
    assert_computed_equal(unseen[0], class_features(model)[2])
    model.set_labels(["swim", "a new one"], TOKENIZER)
    assert_computed_equal(unseen, class_features(model))


@torch.no_grad()
def test_unseen_classes_serve_as_texts():
    model = toy_model(text_prompt_scope="unified")
    unseen = model.get_class_features(label_token_ids=token_ids("a new one")).pooler_output
    assert model(toy_clips(), text_embeds=unseen).logits_per_video.shape == (2, 1)


def test_contexts_of_classes_do_not_apply_to_others():
    with pytest.raises(ValueError, match="text_prompt_scope='unified'"):
        toy_model().get_class_features(label_token_ids=token_ids("a new one"))


def test_no_classes_to_encode_is_an_error():
    with pytest.raises(ValueError, match="label_token_ids is empty; expected the token ids of at least one class"):
        toy_model(text_prompt_scope="unified").get_class_features([])


@torch.no_grad()
def test_without_contexts_any_class_can_be_encoded():
    model = toy_model(text_prompt_length=0)
    found = model.get_class_features(label_token_ids=token_ids("a new one")).pooler_output
    tokens = TOKENIZER(["a new one."], return_tensors="pt")
    assert_computed_equal(found, model.get_text_features(**tokens).pooler_output)


# ---- many classes ----


@torch.no_grad()
def test_chunks_give_the_same_features():
    model = toy_model()
    whole = model._encode_classes(chunk_size=3)
    for chunk_size in (1, 2):
        torch.testing.assert_close(model._encode_classes(chunk_size=chunk_size), whole)


def test_with_gradients_all_classes_are_encoded_at_once():
    model = toy_model().train()
    features = model.get_class_features(chunk_size=1).pooler_output
    nn.functional.mse_loss(features, torch.zeros_like(features)).backward()
    assert (model.class_prompts.contexts.grad.abs().sum(dim=(1, 2)) > 0).all()


@torch.no_grad()
def test_ten_thousand_labels_are_encoded_in_bounded_memory(monkeypatch):
    """Of the text tower's activations only those of one chunk exist at a time; of all classes, their features."""
    labels = [f"{first}{second}{third}" for first in "abcdefghij" for second in range(10) for third in range(100)]
    model = toy_model(text_prompt_scope="unified", num_layers=1)
    model.set_labels(labels, TOKENIZER)
    largest = []
    forward = type(model.text_model).forward

    def watched(self, *args, **kwargs):
        largest.append(kwargs["inputs_embeds"].shape[0])
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model.text_model), "forward", watched)
    model.hold_class_features()
    assert model.get_class_features().pooler_output.shape == (10_000, 20)
    assert max(largest) == 512
    assert len(largest) == 20
    model(toy_clips())
    assert len(largest) == 20, "held, and not encoded again"


# ---- tokenizers of checkpoints that lie ----


def changed_tokenizer(folder, file, **fields):
    """A saved tokenizer with other fields in one of its files, beside a configuration that nothing has checked."""
    toy_tokenizer().save_pretrained(folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, **fields}))
    (folder / "config.json").write_text(json.dumps({"model_type": "vita_clip", "num_labels": 2**62}))
    return load_tokenizer_of(folder)


def test_a_tokenizer_is_loaded_without_the_configuration_beside_it(tmp_path):
    tokenizer = changed_tokenizer(tmp_path, "tokenizer_config.json")
    assert tokenizer("swim")["input_ids"] == toy_tokenizer()("swim")["input_ids"]


def test_texts_are_padded_on_the_right_whatever_a_file_says(tmp_path):
    tokenizer = changed_tokenizer(tmp_path, "tokenizer_config.json", padding_side="left")
    labels = ["run", "ride a bike"]
    assert_computed_equal(
        embed_labels(toy_model(), tokenizer, labels), embed_labels(toy_model(), toy_tokenizer(), labels)
    )


def test_a_tokenizer_of_another_vocabulary_is_named(tmp_path):
    toy_tokenizer().save_pretrained(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    vocabulary = {token: index + 1000 for token, index in model["vocab"].items()}
    tokenizer = changed_tokenizer(tmp_path, "tokenizer.json", model={**model, "vocab": vocabulary})
    with pytest.raises(ValueError, match=rf"The tokenizer '{tmp_path}' cannot be used: .*vocabulary's 0 to 189"):
        embed_labels(toy_model(), tokenizer, ["run"])


def test_a_tokenizer_without_a_start_token_is_refused(tmp_path):
    with pytest.raises(OSError, match=rf"{tmp_path} has a tokenizer that gives no start and end token"):
        changed_tokenizer(tmp_path, "tokenizer_config.json", tokenizer_class="ByT5Tokenizer")
