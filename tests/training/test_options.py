"""The Trainer's options beside the recipe: each does its work, and nothing if it is off."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerance import assert_computed_equal
from torch.utils.data import Dataset
from toy_checkpoint import toy_processor
from toy_training import LABELS, losses_of, toy_arguments, toy_data, toy_trainer
from toy_vita_clip import save_toy_clip, toy_tokenizer
from transformers import EarlyStoppingCallback, TrainingArguments

from vita_clip_hf.data import DecodedClips
from vita_clip_hf.evaluation import embed_labels, top_k_accuracy
from vita_clip_hf.training import VitaClipTrainingArguments
from vita_clip_hf.training.callbacks import ZeroShotSets
from vita_clip_hf.training.clip_mixing import ClipMixing
from vita_clip_hf.training.data_wait import DataWait
from vita_clip_hf.training.skipped_videos import REPORT, SkippedVideos


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def prompts_of(trainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if weight.requires_grad}


# ---- devices ----


def test_a_checkpoint_can_be_read_onto_the_device_of_one_of_several_processes_on_the_cpu(tmp_path, monkeypatch):
    arguments = toy_arguments(tmp_path)
    monkeypatch.setattr(TrainingArguments, "device", torch.device("cpu:0"))
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    assert torch.load(tmp_path / "tensor.pt", map_location=arguments.device).tolist() == [1, 1]
    monkeypatch.setattr(TrainingArguments, "device", torch.device("cuda:1"))
    assert arguments.device == torch.device("cuda:1")


# ---- text features once a step ----


@pytest.mark.parametrize("accumulation", [2, 3])
def test_shared_text_features_change_no_loss_and_no_weight(clip, tmp_path, accumulation):
    """With 10 clips in batches of 2, the last step of an epoch has fewer batches where 3 are accumulated."""
    results = []
    for shared in (False, True):
        settings = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 2, "max_steps": 6}
        trainer = toy_trainer(clip, toy_arguments(tmp_path, share_text_features=shared, optim="sgd", **settings))
        trainer.train()
        results.append((losses_of(trainer), prompts_of(trainer)))
    (plain_losses, plain), (shared_losses, shared) = results
    assert_computed_equal(shared_losses, plain_losses)
    for name, weight in plain.items():
        assert_computed_equal(shared[name], weight)


@pytest.mark.parametrize(("dropout", "encoded"), [(0.0, 4), (0.1, 20)], ids=["", "each batch with its own dropout"])
def test_shared_text_features_are_encoded_once_a_step(clip, tmp_path, dropout, encoded):
    trainer = toy_trainer(
        clip, toy_arguments(tmp_path, gradient_accumulation_steps=5, per_device_train_batch_size=2, max_steps=4)
    )
    trainer.model.config.text_config.attention_dropout = dropout
    calls = []
    trainer.model.text_model.register_forward_hook(lambda *_: calls.append(1))
    trainer.train()
    assert len(calls) == encoded


# ---- labels and mixing ----


def test_label_smoothing_is_torchs(clip, tmp_path):
    data = toy_data(4)
    trainer = toy_trainer(clip, toy_arguments(tmp_path, label_smoothing_factor=0.3, max_steps=1), train_dataset=data)
    with torch.no_grad():
        logits = trainer.model(trainer._normalize(data.pixel_values)).logits
    expected = torch.nn.functional.cross_entropy(logits, data.labels, label_smoothing=0.3)
    trainer.train()
    assert_computed_equal(losses_of(trainer)[0].float(), expected)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixed_labels_say_what_is_in_a_clip(mixup, cutmix):
    """Clip i is all pixels i and class i: the mean of a mixed clip is the mean of its labels."""
    clips = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 2, 3, 8, 8).clone()
    mixing = ClipMixing(4, mixup, cutmix)
    seen = set()
    before = torch.random.get_rng_state()
    for seed in range(8):
        mixed, shares = mixing(clips, torch.arange(4), seed)
        again, _ = mixing(clips, torch.arange(4), seed)
        assert torch.equal(again, mixed)
        assert shares.shape == (4, 4)
        torch.testing.assert_close(shares.sum(1), torch.ones(4))
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3, 4)), shares @ torch.arange(4.0))
        torch.testing.assert_close(mixed[:, 0], mixed[:, 1])  # every frame alike
        seen.add(round(shares.diag()[0].item(), 3))
    assert len(seen) > 2
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is untouched


def test_no_mixing_touches_nothing():
    clips, labels = torch.rand(2, 2, 3, 4, 4), torch.tensor([0, 1])
    mixed, same = ClipMixing(2)(clips, labels, 0)
    assert mixed is clips
    assert same is labels


def test_evaluation_is_never_mixed(clip, tmp_path):
    plain = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=toy_data()).evaluate()
    mixing = toy_trainer(clip, toy_arguments(tmp_path, mixup_alpha=1.0), eval_dataset=toy_data()).evaluate()
    assert_computed_equal(mixing["eval_loss"], plain["eval_loss"])


# ---- the moving average ----


def test_the_average_is_evaluated_and_saved(clip, tmp_path):
    decay, steps = 0.5, 4
    trainer = toy_trainer(clip, toy_arguments(tmp_path, ema_decay=decay, max_steps=steps), eval_dataset=toy_data())
    history = []
    step = trainer._average.on_step_end

    def remember(*args, **kwargs):
        history.append(prompts_of(trainer))
        step(*args, **kwargs)

    trainer._average.on_step_end = remember
    trainer.train()
    expected = history[0]
    for weights in history[1:]:
        expected = {name: decay * expected[name] + (1 - decay) * weights[name] for name in expected}
    trainer.save_model()
    saved = load_file(tmp_path / "adapter_model.safetensors")
    for name, weight in expected.items():
        torch.testing.assert_close(saved[name], weight, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(prompts_of(trainer)[name], history[-1][name])  # training goes on with its own
    evaluated = trainer.evaluate()["eval_loss"]
    plain = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=toy_data())
    plain.model.load_state_dict(expected, strict=False)
    assert_computed_equal(evaluated, plain.evaluate()["eval_loss"])


def test_resuming_with_an_average_needs_one(clip, tmp_path):
    saving = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    toy_trainer(clip, toy_arguments(tmp_path, **saving)).train()
    with pytest.raises(ValueError, match="without ema_decay"):
        toy_trainer(clip, toy_arguments(tmp_path, ema_decay=0.9, **saving)).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("field", "value"), [("ema_decay", 1.0), ("mixup_alpha", -1.0), ("cutmix_alpha", -0.1), ("max_bad_videos", 2.0)]
)
def test_settings_out_of_range_are_named(tmp_path, field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        VitaClipTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **{field: value})


# ---- evaluation ----


class NamedClips(DecodedClips):
    """Clips of classes that the model has no contexts for."""

    class_names = ("cooking", "juggling", "sleeping")


def test_zero_shot_sets_are_evaluated_beside_the_trainers_own(clip, tmp_path):
    data = toy_data(9, seed=2)
    named = NamedClips(data.pixel_values, torch.arange(9) % 3)
    trainer = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=toy_data(), processing_class=toy_processor())
    sets = ZeroShotSets(trainer, {"ucf": named})
    trainer.add_callback(sets)
    figures = trainer.evaluate()
    alone = sets.evaluate("x")
    assert figures["eval_ucf_top_1"] == alone["x_ucf_top_1"]
    assert "eval_top_1" in figures
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert {"eval_top_1", "eval_ucf_top_1", "eval_ucf_runtime"} <= logged
    assert "eval_ucf_top_1" not in trainer.evaluate(toy_data(4))  # not the trainer's own set
    texts = embed_labels(trainer.model, toy_tokenizer(), list(named.class_names))
    with torch.no_grad():
        logits = trainer.model(trainer._normalize(named.pixel_values), text_embeds=texts).logits
    assert figures["eval_ucf_top_1"] == pytest.approx(top_k_accuracy(logits, named.labels))
    assert_computed_equal(figures["eval_ucf_loss"], torch.nn.functional.cross_entropy(logits, named.labels).item())
    assert logits.shape[1] == 3 != len(LABELS)


def test_persistent_workers_serve_the_set_that_is_asked_for(clip, tmp_path):
    data, other = toy_data(8, seed=2), toy_data(5, seed=4)
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    trainer = toy_trainer(clip, toy_arguments(tmp_path, **workers), eval_dataset=data)
    own = trainer.evaluate()["eval_loss"]
    assert trainer.get_eval_dataloader(other).dataset is other
    assert trainer.get_eval_dataloader().dataset is data
    plain = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=other).evaluate()["eval_loss"]
    assert_computed_equal(trainer.evaluate(other)["eval_loss"], plain)
    assert_computed_equal(trainer.evaluate()["eval_loss"], own)
    assert abs(own - plain) > 0.01


def test_zero_shot_without_a_tokenizer_is_an_error(clip, tmp_path):
    trainer = toy_trainer(clip, toy_arguments(tmp_path))
    with pytest.raises(ValueError, match="VitaClipProcessor"):
        ZeroShotSets(trainer, {"x": NamedClips(toy_data(3).pixel_values, torch.arange(3))})


def test_early_stopping_may_watch_a_zero_shot_set(clip, tmp_path):
    named = NamedClips(toy_data(3).pixel_values, torch.arange(3))
    settings = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "metric_for_best_model": "eval_x_loss",
        "learning_rate": 0.0,
    }
    saving = {"save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": True, "max_steps": 8}
    trainer = toy_trainer(
        clip, toy_arguments(tmp_path, **settings, **saving), eval_dataset=toy_data(4), processing_class=toy_processor()
    )
    trainer.add_callback(ZeroShotSets(trainer, {"x": named}))
    trainer.add_callback(EarlyStoppingCallback(2))
    trainer.train()
    assert trainer.state.global_step == 3


def test_the_average_is_evaluated_on_zero_shot_sets_too(clip, tmp_path):
    named = NamedClips(toy_data(3).pixel_values, torch.arange(3))
    arguments = toy_arguments(tmp_path, ema_decay=0.9, max_steps=4)
    trainer = toy_trainer(clip, arguments, eval_dataset=toy_data(4), processing_class=toy_processor())
    sets = ZeroShotSets(trainer, {"x": named})
    trainer.train()
    own = sets.evaluate()["eval_x_loss"]
    trainer.model.load_state_dict(trainer._average.average, strict=False)
    assert own == pytest.approx(sets.evaluate()["eval_x_loss"], abs=1e-6)
    trainer._average.average = {}
    assert own == pytest.approx(sets.evaluate()["eval_x_loss"], abs=1e-6)


def test_checkpoints_are_not_published(tmp_path):
    assert toy_arguments(tmp_path, hub_strategy="every_save").hub_strategy == "end"


# ---- bad videos ----


class SomeBad(Dataset):
    """10 samples, of which number 3 stands for a video that could not be read and was replaced."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        sample = toy_data()[index]
        return {**sample, "skipped": [("bad.mp4", "no frames")]} if index == 3 else sample


def test_replaced_videos_are_reported_once(clip, tmp_path):
    arguments = toy_arguments(tmp_path, max_steps=10, max_bad_videos=0.1)
    toy_trainer(clip, arguments, train_dataset=SomeBad()).train()
    assert json.loads((tmp_path / REPORT).read_text()) == [{"video": "bad.mp4", "reason": "no frames"}]


def test_too_many_bad_videos_stop_the_run(clip, tmp_path):
    arguments = toy_arguments(tmp_path, max_steps=10, max_bad_videos=0.09)
    with pytest.raises(ValueError, match=r"1 videos of 10 .*9.0%.*bad.mp4: no frames"):
        toy_trainer(clip, arguments, train_dataset=SomeBad()).train()


def test_each_process_judges_by_its_part(tmp_path):
    skipped = SkippedVideos(tmp_path, rank=0, world_size=4, num_videos=400, max_share=0.01)
    skipped.start(resumed=False)
    skipped.add([("a", "x")], 8)
    with pytest.raises(ValueError, match=r"2 videos of 100 "):
        skipped.add([("b", "x")], 8)


def test_a_resumed_stream_is_judged_by_what_it_meets_itself(tmp_path):
    met = SkippedVideos(tmp_path, 0, 1, None, 1.0)
    met.start(resumed=False)
    met.add([(str(index), "x") for index in range(11)], 100_000)
    resumed = SkippedVideos(tmp_path, 0, 1, None, 0.01)
    resumed.start(resumed=True)
    resumed.add([("new", "x")], 4)
    assert len(resumed.reasons) == 12


class SomeUnread(DecodedClips):
    """Views of which the last could not be read."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index < len(self) - 1:
            return sample
        return {**sample, "labels": torch.tensor(-100), "skipped": [("gone.mp4", "is empty")]}

    __getitems__ = None


def test_unread_videos_of_an_evaluation_are_counted_and_named(clip, tmp_path, caplog):
    data = toy_data(6, seed=3)
    figures = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=SomeUnread(*vars(data).values())).evaluate()
    assert figures["eval_unreadable_videos"] == 1
    assert "gone.mp4: is empty" in caplog.text
    rest = DecodedClips(data.pixel_values[:-1], data.labels[:-1])
    expected = toy_trainer(clip, toy_arguments(tmp_path), eval_dataset=rest).evaluate()
    assert_computed_equal(figures["eval_loss"], expected["eval_loss"])
    assert "eval_unreadable_videos" not in expected


def test_a_run_without_bad_videos_writes_no_report(clip, tmp_path):
    toy_trainer(clip, toy_arguments(tmp_path, max_steps=1)).train()
    assert not (tmp_path / REPORT).exists()


# ---- waiting for data ----


def test_waiting_is_a_share_of_the_time_since_the_last_question(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 4.0, 10.0])
    monkeypatch.setattr("vita_clip_hf.training.data_wait.time.perf_counter", lambda: next(clock))
    wait = DataWait()  # 0
    with wait.waiting():  # 1 to 3
        pass
    assert wait.take_share() == 0.5  # at 4
    assert wait.take_share() == 0.0  # at 10


def test_the_log_tells_the_share_of_waiting(clip, tmp_path):
    trainer = toy_trainer(clip, toy_arguments(tmp_path, max_steps=2))
    trainer.train()
    shares = [entry["data_wait"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(shares) == 2
    assert all(0 <= share < 1 for share in shares)


def test_a_profile_is_a_trace_and_a_table(clip, tmp_path):
    toy_trainer(clip, toy_arguments(tmp_path, max_steps=14, profile_steps=2)).train()
    assert "aten::addmm" in (tmp_path / "profile.txt").read_text()
    events = json.loads((tmp_path / "profile.json").read_text())["traceEvents"]
    assert (
        sum(event["name"].startswith("ProfilerStep") for event in events if event.get("cat") == "user_annotation") == 2
    )
