"""Draws that are learned: published lists or seeds, each draw once, kept, shared out, the same as in plain steps."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev

import benchmark_videos as benchmarks
import pytest
import torch
from plain_evaluation import clips_of, top_1
from tolerance import assert_computed_equal
from toy_checkpoint import toy_adapter_on, toy_processor
from toy_vita_clip import save_toy_clip

from vita_clip_hf import EfficientPromptModel
from vita_clip_hf.cli import main
from vita_clip_hf.data import load_videos
from vita_clip_hf.data.splits import draw_episode
from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol, load_report
from vita_clip_hf.evaluation.learned_draws import DrawLearner
from vita_clip_hf.training import DrawRecipe, EfficientPromptLearner

CPU_2 = Path(__file__).parents[2] / "examples" / "accelerate" / "cpu_2.yaml"
PROCESSOR = toy_processor()
FACTS = {"num_draws": 3, "num_ways": 3, "shots": [2], "num_frames": 4, "temporal_views": 3}
PROTOCOL = load_protocol("five-way-five-shot").with_changes(FACTS)
RECIPE = DrawRecipe(
    prefix_length=3, suffix_length=2, num_temporal_heads=4, max_steps=12, learning_rate=0.02, weight_decay=0.1
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A CLIP, videos arranged as UCF101's, and three draws as the authors publish theirs."""
    folder = tmp_path_factory.mktemp("home")
    save_toy_clip(folder / "clip", max_position_embeddings=77)
    PROCESSOR.save_pretrained(folder / "clip")
    videos, _ = benchmarks.write_ucf101(folder, per_class=4)
    rows = load_videos(videos)
    for draw in range(3):
        for half, chosen in zip(("train", "test"), draw_episode(rows, 3, 2, draw), strict=True):
            lines = sorted(Path(video).relative_to(videos).with_suffix("").as_posix() for video in chosen["video"])
            (folder / "draws" / half).mkdir(parents=True, exist_ok=True)
            (folder / "draws" / half / f"split_{draw}.list").write_text("".join(f"{line}\n" for line in lines))
    return folder


def learner_of(home: Path, recipe: DrawRecipe = RECIPE) -> EfficientPromptLearner:
    return EfficientPromptLearner(home / "clip", PROTOCOL.num_frames, recipe)


def run(home: Path, cache: Path, learner: DrawLearner | None, list_path: str | None = "draws", protocol=PROTOCOL):
    data = TestData(home / "UCF-101", None if list_path is None else home / list_path)
    return evaluate(home / "clip", protocol, data, Resources(cache=cache, device="cpu"), learner=learner)


def plain_scores(home: Path, draw: int, train: list[tuple[str, str]], test: list[tuple[str, str]], names: list[str]):
    """From pixels in every step, by the model's own forward pass: probabilities of the videos to test on."""
    start = learner_of(home)
    start.renew(draw)
    fields = {name: getattr(RECIPE, name) for name in ("prefix_length", "suffix_length", "num_temporal_heads")}
    model = EfficientPromptModel.from_pretrained(home / "clip", num_frames=4, **fields)
    for part in ("class_prompts", "temporal_transformer"):
        getattr(model, part).load_state_dict(getattr(start.model, part).state_dict())
    tokens = PROCESSOR.tokenizer(names, padding=True, return_tensors="pt")
    clips = torch.stack([clips_of(video, PROCESSOR, PROTOCOL.to_dict()) for video, _ in train])
    labels = torch.tensor([names.index(label) for _, label in train])
    learned = [parameter for name, parameter in model.named_parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
    generator = torch.Generator().manual_seed(draw)
    for _ in range(RECIPE.max_steps):
        views = torch.randint(3, (len(train),), generator=generator)
        logits = model(torch.stack([clips[row, view] for row, view in enumerate(views)]), **tokens).logits_per_video
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
    with torch.no_grad():
        videos = [clips_of(video, PROCESSOR, PROTOCOL.to_dict()) for video, _ in test]
        return [model(views, **tokens).logits_per_video.softmax(-1).mean(0) for views in videos]


@pytest.mark.parametrize("list_path", ["draws", None])
def test_learned_draws_equal_training_from_pixels(home, tmp_path, list_path):
    report = run(home, tmp_path, learner_of(home), list_path)
    rows = load_videos(home / "UCF-101")
    found = []
    for draw, part in enumerate(report.parts):
        train, test = draw_episode(rows, 3, 2, draw)
        names = sorted(test.features["label"].names)  # as the folders of the lists
        halves = [
            sorted(
                (video, half.features["label"].names[label])
                for video, label in zip(half["video"], half["label"], strict=True)
            )
            for half in (train, test)
        ]
        if list_path is None:
            names = test.features["label"].names
            halves = [
                [(row["video"], half.features["label"].names[row["label"]]) for row in half] for half in (train, test)
            ]
        scores = plain_scores(home, draw, *halves, names)
        found.append(top_1(scores, [names.index(label) for _, label in halves[1]]))
        assert (part.figures["top_1"], part.num_videos, part.num_classes) == (found[-1], 6, 3)
        rows_of_part = [row for row in report.predictions if row["part"] == part.name]
        by_video = {row["video"]: dict(zip(row["best"], row["probabilities"], strict=True)) for row in rows_of_part}
        learned = [[by_video[video][name] for name in names] for video, _ in halves[1]]
        assert_computed_equal(torch.tensor(learned), torch.stack(scores))
    assert report.figures["top_1_mean"] == pytest.approx(fmean(found))
    assert report.figures["top_1_interval"] == pytest.approx(1.96 * stdev(found) / 3**0.5)
    assert {part.class_texts for part in report.parts} == {"own"}


def test_the_report_says_how_draws_were_learned(home, tmp_path):
    report = run(home, tmp_path, learner_of(home))
    learned = report.models[str(home / "clip")]["learned"]
    assert (learned["method"], learned["max_steps"], learned["learning_rate"]) == ("efficient_prompt", 12, 0.02)
    layer = 12 * 20 * 20 + 13 * 20  # four products of attention, two of the MLP, two norms
    assert learned["trained_parameters"] == 77 * 24 + 4 * 20 + layer
    assert "Each draw was learned by itself: efficient_prompt, on frozen features." in report.notes
    assert not any("One model served" in note for note in report.notes)


def test_published_draws_serve_a_model_that_is_not_trained(home, tmp_path):
    published, drawn = (run(home, tmp_path, None, list_path) for list_path in ("draws", None))
    assert [part.figures for part in published.parts] == [part.figures for part in drawn.parts]
    assert (
        published.data["lists"][0]["checksum"]
        != "sha256:" + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


class Counting(DrawLearner):
    """Notes the draws that it is asked for, and may stop before one."""

    def __init__(self, learner: DrawLearner, stop_before: int = 99):
        self.learner, self.stop_before, self.asked = learner, stop_before, []

    @property
    def facts(self):
        return self.learner.facts

    def learn(self, task, store):
        if task.draw == self.stop_before:
            raise KeyboardInterrupt
        self.asked.append(task.draw)
        return self.learner.learn(task, store)


def test_a_run_that_was_stopped_goes_on(home, tmp_path, caplog):
    stopped, resumed, again = (
        Counting(learner_of(home), stop_before=2),
        *(Counting(learner_of(home)) for _ in range(2)),
    )
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path, stopped)
    whole = run(home, tmp_path, resumed)
    assert (stopped.asked, resumed.asked) == ([0, 1], [2])
    kept = sorted((tmp_path / "draws").iterdir())
    assert len(kept) == 3
    kept[0].write_text(kept[0].read_text().replace("1", "2", 1))
    kept[1].write_text("{")
    assert run(home, tmp_path, again).parts == whole.parts
    assert len(again.asked) == 2
    assert caplog.text.count("is damaged. The draw") == 2
    other = Counting(learner_of(home, DrawRecipe(**{**RECIPE.__dict__, "max_steps": 3})))
    run(home, tmp_path, other)
    assert other.asked == [0, 1, 2]


def arguments(home: Path, cache: Path, out: Path, *more: str) -> list[str]:
    (home / "recipe.yaml").write_text("".join(f"{name}: {value}\n" for name, value in RECIPE.__dict__.items()))
    sets = [word for name, value in FACTS.items() for word in ("--set", f"{name}={value}")]
    given = ["evaluate", "--model", str(home / "clip"), "--protocol", "five-way-five-shot", "--device", "cpu"]
    given += ["--videos", str(home / "UCF-101"), "--list", str(home / "draws"), "--num-workers", "0", *sets]
    return [*given, "--cache", str(cache), "--train-draws", str(home / "recipe.yaml"), "--out", str(out), *more]


def test_two_processes_and_the_command_have_the_figures_of_python(home, tmp_path):
    expected = run(home, tmp_path / "python", learner_of(home))
    assert main(arguments(home, tmp_path / "one", tmp_path / "typed")) == 0
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CPU_2)]
    command += ["--main_process_port", "0", "-m", "vita_clip_hf.cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITA_CLIP_DEBUG": "1"}
    done = subprocess.run(
        [*command, *arguments(home, tmp_path / "two", tmp_path / "shared")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "two" / "draws").iterdir())) == 3
    for folder in ("typed", "shared"):
        report = load_report(tmp_path / folder)
        assert report.figures == expected.figures
        assert [row["correct"] for row in report.predictions] == [row["correct"] for row in expected.predictions]


def test_missing_videos_of_published_draws_are_named_and_left_out(home, tmp_path):
    line = (home / "draws" / "train" / "split_0.list").read_text().splitlines()[0]
    video = home / "UCF-101" / f"{line}.avi"
    video.rename(tmp_path / "elsewhere.avi")
    try:
        report = run(home, tmp_path / "cache", learner_of(home))
    finally:
        (tmp_path / "elsewhere.avi").rename(video)
    assert report.is_partial
    assert report.data["missing"] == [str(home / "UCF-101" / line)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--set", "num_draws=9"], "has 3 draws; expected 9"),
        (
            ["--model", "{home}/adapter"],
            "the type 'vita_clip'; Efficient-Prompt learns from the frames of a plain CLIP",
        ),
        (["--train-draws", "{home}/steps.yaml"], "a draw has no setting 'max_step'; is 'max_steps' meant?"),
        (["--train-draws", "{home}/none.yaml"], "none.yaml"),
        (["--classes", "{home}/steps.yaml"], "whose folders are the class names: leave --classes out"),
    ],
)
def test_bad_options_are_one_line(home, tmp_path, capsys, change, message):
    if not (home / "adapter").exists():
        toy_adapter_on(home / "clip").save_pretrained(home / "adapter")
        PROCESSOR.save_pretrained(home / "adapter")
        (home / "steps.yaml").write_text("max_step: 3\n")
    given = [entry.replace("{home}", str(home)) for entry in change]
    assert main(arguments(home, tmp_path / "cache", tmp_path / "out", *given)) == 1
    assert message in capsys.readouterr().err


def test_only_draws_are_trained(home, tmp_path, capsys):
    given = ["--model", str(home / "clip"), "--videos", str(home / "UCF-101"), "--cache", str(tmp_path)]
    assert main(["evaluate", *given, "--protocol", "zero-shot", "--train-draws", "--device", "cpu"]) == 1
    assert (
        "--train-draws is for protocols with draws, such as five-way-five-shot, not zero-shot"
        in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="Only few-shot episodes have draws to learn; zero-shot is of the kind"):
        run(home, tmp_path, learner_of(home), None, load_protocol("zero-shot"))
