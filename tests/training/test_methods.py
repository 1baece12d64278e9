"""`vita-clip train --method`: every method trains, is saved, and gives the printed figures in another process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bad_videos import write_motion_shapes
from safetensors.torch import load_file
from tolerance import assert_computed_equal
from toy_checkpoint import TIMEOUT, toy_processor
from toy_training import LABELS, TINY, toy_arguments, toy_data
from toy_vita_clip import NUM_FRAMES, save_toy_clip, toy_clips, toy_tokenizer
from transformers import CLIPModel
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE
from vita_clip_hf.modeling.configuration_efficient_prompt import EfficientPromptConfig
from vita_clip_hf.modeling.configuration_vita_clip import NO_PROMPTS

from vita_clip_hf import EfficientPromptModel, VitaClipModel
from vita_clip_hf.cli import main as cli
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol
from vita_clip_hf.hub.cards import render_card
from vita_clip_hf.models import EfficientPrompt, VitaClip, load_model
from vita_clip_hf.training import VitaClipTrainer
from vita_clip_hf.training.callbacks import ZeroShotSets
from vita_clip_hf.training.command import parse
from vita_clip_hf.training.methods import load_model_to_train
from vita_clip_hf.training.options import EFFICIENT_PROMPT, FINETUNE, VITA_CLIP, ModelOptions

TINY_CLIP = Path(__file__).parents[2] / "vita_clip_hf" / "demo" / "tiny_clip"
SMALL = (*TINY, "--num_frames", "2", "--sampling", "uniform", "--temporal_views", "1", "--augment", "False")
SMALL += ("--per_device_train_batch_size", "4", "--learning_rate", "0.001")
AT_ONCE = ("--lr_scheduler_type", "constant", "--warmup_steps", "0")
NEIGHBOURS = {
    EFFICIENT_PROMPT: ("--num_temporal_heads", "4", "--prefix_length", "2", "--suffix_length", "3"),
    FINETUNE: ("--class_template", "a shape {}"),
}
WEIGHTS = {EFFICIENT_PROMPT: ADAPTER_FILE, FINETUNE: "model.safetensors"}
EVALUATE = """
import json, sys
from vita_clip_hf.data import VideoViews, load_videos
from vita_clip_hf.evaluation import predict, top_k_accuracy
from vita_clip_hf.models import load_model

videos, *folders = sys.argv[1:]
found = []
for folder in folders:
    model, processor = load_model(folder)
    views = VideoViews(load_videos(videos), processor.video_processor)
    texts = (None, model.encode_labels(views.class_names))
    runs = [predict(model, views, processor.video_processor, text) for text in texts]
    found.append([top_k_accuracy(run.logits, run.labels) for run in runs])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 28)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def train(*arguments: object) -> int:
    return cli(["train", *SMALL, *map(str, arguments)])


def toy_model_of(method: str, clip: Path, **fields: object):
    torch.manual_seed(0)
    fields = (
        {"num_temporal_heads": 4, "prefix_length": 4, "suffix_length": 4, **fields}
        if method == EFFICIENT_PROMPT
        else fields
    )
    return load_model_to_train(ModelOptions(method=method, base=str(clip), **fields), LABELS, NUM_FRAMES)


def test_what_is_printed_is_what_another_process_finds(videos, tmp_path):
    given = ("--train", videos, "--validation", videos, "--eval_zero_shot", f"named={videos}", "--max_steps", "6")
    folders, printed = [tmp_path / method for method in NEIGHBOURS], []
    for method, folder in zip(NEIGHBOURS, folders, strict=True):
        assert train("--method", method, *NEIGHBOURS[method], *given, "--output_dir", folder) == 0
        assert (folder / WEIGHTS[method]).is_file()
        figures = json.loads((folder / "all_results.json").read_text())
        printed.append([figures["eval_top_1"], figures["eval_named_top_1"]])
    command = [sys.executable, "-c", EVALUATE, str(videos), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == printed


def test_a_zero_shot_set_has_the_figure_that_evaluate_finds(videos, tmp_path):
    """Names that the model has not learned: in templates, and behind the contexts that its own classes share."""
    names = tmp_path / "names.txt"
    names.write_text("it goes up\nsomething goes down\nto the left\nthe right\n")
    kinds = ("templates", "contexts")
    sets = [f"{kind}={videos},classes={names},class_texts={kind}" for kind in kinds] + [
        f"plain={videos},classes={names}"
    ]
    settings = (
        "--text_prompt_scope",
        "unified",
        "--temporal_views",
        "2",
        "--max_steps",
        "3",
        "--learning_rate",
        "0.05",
    )
    folder = tmp_path / "out"
    assert train("--train", videos, "--eval_zero_shot", *sets, *settings, "--output_dir", folder) == 0
    printed = json.loads((folder / "all_results.json").read_text())
    clips = {"num_frames": 2, "sampling": "uniform", "frame_stride": None, "temporal_views": 2}
    found = {}
    for kind in kinds:
        protocol = load_protocol("zero-shot").with_changes({**clips, "class_texts": kind})
        data = TestData(videos.parent, videos, names)
        report = evaluate(folder, protocol, data, Resources(tmp_path / "features", device="cpu"))
        assert report.parts[0].class_texts == kind
        found[kind] = report.figures["top_1"]
    assert {kind: printed[f"eval_{kind}_top_1"] for kind in kinds} == pytest.approx(found)
    assert printed["eval_plain_top_1"] == printed["eval_templates_top_1"]
    assert len({printed[f"eval_{kind}_loss"] for kind in kinds}) == 2


def test_a_report_counts_the_numbers_that_training_changed(videos, tmp_path):
    for method in (VITA_CLIP, *NEIGHBOURS):
        folder = tmp_path / method
        settings = (*NEIGHBOURS.get(method, ()), "--max_steps", "1", "--weight_decay", "0.1", *AT_ONCE)
        assert train("--method", method, *settings, "--train", videos, "--output_dir", folder) == 0
        model, _ = load_model(folder)
        start = CLIPModel.from_pretrained(TINY_CLIP).state_dict()
        changed = {
            name: weight.numel()
            for name, weight in model.model.named_parameters()
            if name not in start or not torch.equal(weight, start[name])
        }
        kept = {"logit_scale"} if method == EFFICIENT_PROMPT else set()  # another number than CLIP's, and not learned
        assert model.num_trained == sum(number for name, number in changed.items() if name not in kept)
    clip, _ = load_model(TINY_CLIP)
    assert clip.num_trained is None


@pytest.mark.parametrize("method", list(NEIGHBOURS))
def test_a_stopped_run_ends_with_the_same_bits(videos, tmp_path, method):
    saving = ("--method", method, *NEIGHBOURS[method], "--train", videos, "--save_steps", "2", "--max_steps", "4")
    assert train(*saving, "--output_dir", tmp_path) == 0
    whole = load_file(tmp_path / WEIGHTS[method])
    for name in (WEIGHTS[method], "checkpoint-4/optimizer.pt"):
        (tmp_path / name).unlink()
    assert train(*saving, "--output_dir", tmp_path, "--resume_from_checkpoint", "auto") == 0
    resumed = load_file(tmp_path / WEIGHTS[method])
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_checkpoint_of_another_method_is_refused_by_name(videos, tmp_path, capsys):
    saving = ("--train", videos, "--save_steps", "1", "--max_steps", "1", "--output_dir", tmp_path)
    assert train("--method", FINETUNE, *saving) == 0
    assert train("--resume_from_checkpoint", "auto", *saving) == 1
    assert "checkpoint-1 is of --method finetune, and this training of --method vita_clip" in capsys.readouterr().err


# ---- all of CLIP ----


def test_a_fine_tuned_clip_has_the_gradients_of_a_plain_clip_on_the_mean_of_frames(clip):
    model = toy_model_of(FINETUNE, clip, class_template="a clip of {}!").train()
    clips, labels = toy_clips(3), torch.tensor([0, 4, 8])
    loss = model(clips, labels=labels).loss
    loss.backward()
    plain = CLIPModel.from_pretrained(clip)
    texts = toy_tokenizer()([f"a clip of {name}!" for name in LABELS], padding=True, return_tensors="pt")
    video = plain.get_image_features(clips.flatten(0, 1)).pooler_output.unflatten(0, clips.shape[:2]).mean(1)
    text = plain.get_text_features(**texts).pooler_output
    unit = torch.nn.functional.normalize
    logits = plain.logit_scale.exp() * unit(video, dim=-1) @ unit(text, dim=-1).t()
    expected = torch.nn.functional.cross_entropy(logits, labels)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    plain_gradients = {name: weight.grad for name, weight in plain.named_parameters()}
    largest = max(gradient.abs().max() for gradient in plain_gradients.values())
    assert {name for name, _ in model.named_parameters()} == plain_gradients.keys()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, plain_gradients[name], rtol=1e-3, atol=1e-4 * float(largest))


def test_a_fine_tuned_clip_is_a_whole_checkpoint_that_can_be_trained_on(clip, tmp_path):
    model = toy_model_of(FINETUNE, clip, class_template="it is {}").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    model.save_pretrained(tmp_path)
    toy_processor().save_pretrained(tmp_path)
    loaded = VitaClipModel.from_pretrained(tmp_path).eval()
    assert all(getattr(loaded.config, name) == off for name, off in NO_PROMPTS.items())
    assert loaded.config.base_model_name_or_path is None
    clips = toy_clips(2)
    assert_computed_equal(loaded(clips).logits_per_video, model(clips).logits)
    again = toy_model_of(FINETUNE, tmp_path, class_template="it is {}").eval()
    assert_computed_equal(again(clips).logits, model(clips).logits)
    assert all(weight.requires_grad for weight in again.parameters())


def test_the_card_of_a_fine_tuned_clip_speaks_of_no_frozen_clip(clip, tmp_path):
    model = toy_model_of(FINETUNE, clip)
    model.save_pretrained(tmp_path)
    card = render_card(tmp_path, "someone/fine-tuned")
    assert "frozen" not in card
    assert "A full checkpoint" in card
    assert "fine-tuned-clip" in card


def test_prompts_are_no_start_for_another_method(clip, tmp_path):
    VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), num_frames=NUM_FRAMES).save_pretrained(
        tmp_path / "adapter"
    )
    toy_processor().save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"is a Vita-CLIP with prompts \(.*text_prompt_length.*--method vita_clip"):
        toy_model_of(FINETUNE, tmp_path / "adapter")
    with pytest.raises(ValueError, match="expected a CLIP or a"):
        toy_model_of(EFFICIENT_PROMPT, tmp_path / "adapter")


def test_a_whole_clip_is_no_start_for_prompts(clip, tmp_path):
    toy_model_of(FINETUNE, clip).save_pretrained(tmp_path)
    toy_processor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no prompts to go on from: give --base a CLIP.*--method finetune"):
        toy_model_of("vita_clip", tmp_path)


def test_a_template_that_is_too_long_is_named(clip):
    with pytest.raises(ValueError, match=r"class_template 'abc.*\{\}' with the name 'ride bike' makes \d+ tokens"):
        toy_model_of(FINETUNE, clip, class_template="abc " * 20 + "{}")


def test_text_features_shared_by_the_batches_of_a_step_change_no_loss(clip, tmp_path):
    losses = []
    for share in (False, True):
        arguments = toy_arguments(
            tmp_path, max_steps=3, gradient_accumulation_steps=2, share_text_features=share, learning_rate=1e-3
        )
        trainer = VitaClipTrainer(
            model=toy_model_of(FINETUNE, clip),
            args=arguments,
            train_dataset=toy_data(),
            processing_class=toy_processor(),
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_high_learning_rate_for_a_whole_clip_is_warned_of(videos, tmp_path, caplog):
    given = ("--train", videos, "--max_steps", "1", "--output_dir", tmp_path / "a")
    assert train("--method", FINETUNE, *given, "--learning_rate", "4e-4") == 0
    assert "learning_rate is 0.0004, which is high for a whole CLIP" in caplog.text


# ---- further sets, whose texts change with the training ----


class NamedClips(DecodedClips):
    class_names = ("swim", "run", "eat")


@pytest.mark.parametrize("method", list(NEIGHBOURS))
@pytest.mark.parametrize("decay", [None, 0.5])
def test_further_sets_are_evaluated_by_the_texts_of_the_weights_of_that_moment(clip, tmp_path, method, decay):
    rows = toy_data()
    named = NamedClips(rows.pixel_values, rows.labels % 3)
    processor = toy_processor()
    trainer = VitaClipTrainer(
        model=toy_model_of(method, clip),
        args=toy_arguments(tmp_path, max_steps=6, ema_decay=decay, learning_rate=1e-2),
        train_dataset=rows,
        processing_class=processor,
    )
    sets = ZeroShotSets(trainer, {"named": named})
    trainer.train()
    figures = sets.evaluate()
    trainer.save_model(str(tmp_path / "saved"))
    if method == EFFICIENT_PROMPT:
        wrapper = EfficientPrompt(EfficientPromptModel.from_pretrained(tmp_path / "saved").eval(), toy_tokenizer())
    else:
        wrapper = VitaClip(VitaClipModel.from_pretrained(tmp_path / "saved").eval(), toy_tokenizer())
    with torch.no_grad():
        texts = wrapper.encode_labels(NamedClips.class_names)
        pixel_values = trainer._normalized(rows.pixel_values)
        logits = wrapper.logits(wrapper.encode_videos(pixel_values), texts)
    expected = torch.nn.functional.cross_entropy(logits, named.labels).item()
    assert figures["eval_named_loss"] == pytest.approx(expected, rel=1e-3)


# ---- settings ----


def test_settings_of_each_method_are_those_of_its_configuration():
    given = ["--train", "a", "--output_dir", "b", "--method", EFFICIENT_PROMPT, "--prefix_length", "4"]
    model, _, _ = parse(given, "train")
    config = EfficientPromptConfig()
    expected = {name: getattr(config, name) for name in config.prompt_fields if name != "num_frames"}
    assert model.prompt_fields() == {**expected, "prefix_length": 4}
    assert parse([*given[:-3], FINETUNE], "train")[0].prompt_fields() == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--method", "fine_tune"], "method is 'fine_tune'; expected one of vita_clip, efficient_prompt, finetune"),
        (["--method", "fine_tune"], "is 'finetune' meant?"),
        (["--method", "efficient_prompt", "--num_global_prompts", "4"], "num_global_prompts is 4, which is a setting"),
        (["--method", "finetune", "--text_prompt_length", "4"], "a setting of --method vita_clip"),
        (["--method", "finetune", "--prefix_length", "4"], "a setting of --method efficient_prompt"),
        (["--suffix_length", "4"], "suffix_length is 4, which is a setting of --method efficient_prompt"),
        (["--class_template", "a {}"], "class_template is 'a {}', which is a setting of --method finetune"),
        (["--method", "finetune", "--class_template", "a"], "class_template is 'a'; expected one {}"),
        (["--method", "finetune", "--base_dtype", "bfloat16"], "--method finetune trains the whole CLIP"),
        (["--shots", "0"], "shots is 0; expected a whole number at least 1"),
        (["--shots_seed", "1"], "shots_seed is 1, but no videos are drawn"),
        (["--shots", "2", "--streaming"], "shots cannot be drawn from a stream"),
        (["--shots", "2", "--shots_seed", "-1"], "shots_seed is -1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(settings, message, tmp_path, capsys):
    assert train("--train", "a", "--output_dir", tmp_path / "out", *settings) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---- few videos ----


def test_shots_are_drawn_from_the_seed(videos, tmp_path):
    from vita_clip_hf.data import load_videos
    from vita_clip_hf.data.splits import draw_shots
    from vita_clip_hf.training.clip_sets import load_training

    def drawn(*given: str) -> list[str]:
        _, data, args = parse(["--train", str(videos), "--output_dir", str(tmp_path), *given], "train")
        return load_training(data, args.seed)["video"][:]

    rows = load_videos(videos)
    assert drawn() == rows["video"][:]
    assert drawn("--shots", "1", "--seed", "3") == draw_shots(rows, 1, 3)["video"][:]
    assert drawn("--shots", "1", "--seed", "3", "--shots_seed", "0") == draw_shots(rows, 1, 0)["video"][:]
    assert len({tuple(drawn("--shots", "1", "--seed", str(seed))) for seed in range(4)}) > 1


def test_a_class_with_too_few_videos_is_named(videos, tmp_path, capsys):
    assert train("--train", videos, "--shots", "100", "--output_dir", tmp_path, "--max_steps", "1") == 1
    assert "videos; expected at least 100 to draw from" in capsys.readouterr().err
