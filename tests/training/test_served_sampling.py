"""What was trained is what is served: the printed figure is what the saved adapter gives, whoever asks it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_videos import write_motion_shapes
from toy_checkpoint import toy_processor
from toy_training import TINY, toy_arguments, toy_trainer
from toy_vita_clip import save_toy_clip

from vita_clip_hf import VitaClipVideoProcessor
from vita_clip_hf.cli import main as cli
from vita_clip_hf.data import VideoClips, VideoViews, load_videos
from vita_clip_hf.hub import render_card

RECIPE = ("--num_frames", "3", "--sampling", "dense", "--sampling_stride", "2", "--learning_rate", "0.002")
TRAINING = ("--per_device_train_batch_size", "8", "--max_steps", "20", "--save_steps", "10", "--augment", "False")
SERVE = """
import json, sys
from transformers import AutoVideoProcessor, pipeline
from vita_clip_hf import VitaClipModel
from vita_clip_hf.data import VideoViews, load_videos
from vita_clip_hf.evaluation import predict, top_k_accuracy
from vita_clip_hf.models import VitaClip
from vita_clip_hf.predict import load_predictor

folder, source = sys.argv[1:]
rows = load_videos(source)
names = rows.features["label"].names
videos, labels = rows["video"], [names[label] for label in rows["label"]]

def top_1(results):
    return sum(ranked[0]["label"] == label for ranked, label in zip(results, labels)) / len(labels)

predictor = load_predictor(folder)
zero_shot = pipeline("zero-shot-video-classification", model=folder, device="cpu")
theirs = pipeline("video-classification", model=folder, device="cpu")
processor = AutoVideoProcessor.from_pretrained(folder)
views = VideoViews(rows, processor)
found = predict(VitaClip(VitaClipModel.from_pretrained(folder)), views, processor)
uniform = VideoViews(rows, processor, sampling="uniform", temporal_views=1)
other = predict(VitaClip(VitaClipModel.from_pretrained(folder)), uniform, processor)
print(json.dumps({
    "predict": top_1([predictor(video) for video in videos]),
    "zero-shot pipeline": top_1(zero_shot(list(videos))),
    "transformers pipeline": top_1(theirs(list(videos))),
    "evaluation": top_k_accuracy(found.logits, found.labels),
    "differs from uniform": (found.logits - other.logits).abs().max().item() > 1e-3,
}))
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 28)


@pytest.fixture(scope="module")
def adapter(videos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    data = ("--train", str(videos), "--validation", str(videos), "--spatial_views", "2", "--num_global_prompts", "2")
    assert cli(["train", *TINY, *RECIPE, *TRAINING, *data, "--output_dir", str(folder)]) == 0
    return folder


def test_the_printed_figure_is_what_the_saved_adapter_gives_in_a_new_process(adapter, videos, tmp_path):
    printed = json.loads((adapter / "all_results.json").read_text())["eval_top_1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, str(adapter), str(videos)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    served = json.loads(done.stdout.splitlines()[-1])
    assert served.pop("differs from uniform")
    assert 0.3 < printed < 1  # of four classes
    assert served == dict.fromkeys(served, printed)


def test_every_checkpoint_has_the_sampling_and_the_card_says_it(adapter):
    expected = {
        "num_frames": 3,
        "sampling": "strided",
        "frame_stride": 2,
        "num_temporal_views": 3,
        "num_spatial_views": 2,
    }
    for folder in (adapter, adapter / "checkpoint-10", adapter / "checkpoint-20"):
        processor = VitaClipVideoProcessor.from_pretrained(folder)
        assert {name: getattr(processor, name) for name in expected} == expected
    assert "strided, every 2nd frame, 6 views of each video" in render_card(adapter, "someone/adapter")


def test_the_stride_that_fits_is_saved_and_kept_when_a_run_goes_on(videos, tmp_path, capsys, caplog):
    """Videos have 12 frames: of 3 frames, the first and the last may be 10 apart."""
    auto = ("--num_frames", "3", "--sampling_stride", "auto", "--temporal_views", "1", "--train", str(videos))
    command = ["train", *TINY, *TRAINING, *auto, "--output_dir", str(tmp_path)]
    assert cli(command) == 0
    assert "sampling_stride is fitted to the videos: 3 frames, 5 apart" in caplog.text
    for folder in (tmp_path, tmp_path / "checkpoint-10"):
        assert VitaClipVideoProcessor.from_pretrained(folder).frame_stride == 5
    settings = json.loads((tmp_path / "checkpoint-20" / "processor_config.json").read_text())
    assert settings["video_processor"]["frame_stride"] == 5
    path = tmp_path / "checkpoint-20" / "processor_config.json"
    settings["video_processor"]["frame_stride"] = 4  # as if other videos had been there when it began
    path.write_text(json.dumps(settings))
    sealed = json.loads((tmp_path / "checkpoint-20" / "checkpoint_files.json").read_text())
    del sealed["processor_config.json"]
    (tmp_path / "checkpoint-20" / "checkpoint_files.json").write_text(json.dumps(sealed))
    assert cli([*command, "--max_steps", "22", "--resume_from_checkpoint", "auto"]) == 0
    assert VitaClipVideoProcessor.from_pretrained(tmp_path).frame_stride == 4


def test_videos_too_short_for_the_stride_are_told_once_with_their_share_and_the_remedy(videos, tmp_path, caplog):
    steps = ("--max_steps", "2", "--per_device_train_batch_size", "2")
    arguments = (*TINY, *steps, "--num_frames", "4", "--train", str(videos), "--output_dir", str(tmp_path))
    assert cli(["train", *arguments]) == 0
    told = [record.message for record in caplog.records if "the last frame repeats" in record.message]
    assert len(told) == 1
    assert "28 of 28 videos that were opened (100%) have fewer than the 49 frames" in told[0]
    assert "--sampling_stride 3 fits" in told[0]


def test_nothing_is_told_if_clips_fit(adapter, videos, tmp_path, caplog):
    steps = ("--max_steps", "1", "--per_device_train_batch_size", "2")
    assert cli(["train", *TINY, *RECIPE, *steps, "--train", str(videos), "--output_dir", str(tmp_path)]) == 0
    assert "the last frame repeats" not in caplog.text


# ---- a trainer in Python ----


@pytest.fixture
def clip(tmp_path) -> Path:
    return save_toy_clip(tmp_path / "clip")


def test_a_trainer_in_python_saves_the_sampling_of_its_clips(clip, videos, tmp_path, caplog):
    processor = toy_processor()
    clips = VideoClips(
        load_videos(videos), processor.video_processor, num_frames=4, sampling="dense", sampling_stride=3
    )
    toy_trainer(clip, toy_arguments(tmp_path), train_dataset=clips, processing_class=processor)
    video_processor = processor.video_processor
    assert (video_processor.num_frames, video_processor.sampling, video_processor.frame_stride) == (4, "strided", 3)
    assert "sampling='strided', frame_stride=3" in caplog.text


def test_a_trainer_in_python_saves_the_views_of_its_evaluation(clip, videos, tmp_path, caplog):
    processor = toy_processor()
    rows = load_videos(videos)
    clips = VideoClips(rows, processor.video_processor, num_frames=4, sampling="tsn")
    views = VideoViews(rows, processor.video_processor, temporal_views=2, spatial_views=3)
    toy_trainer(clip, toy_arguments(tmp_path), train_dataset=clips, eval_dataset=views, processing_class=processor)
    video_processor = processor.video_processor
    assert (video_processor.num_temporal_views, video_processor.num_spatial_views) == (2, 3)
    assert video_processor.sampling == "uniform"
    assert "and evaluated and served with" not in caplog.text


def test_an_evaluation_that_samples_otherwise_than_the_training_is_told(clip, videos, tmp_path, caplog):
    processor = toy_processor()
    rows = load_videos(videos)
    clips = VideoClips(rows, processor.video_processor, num_frames=4, sampling="dense", sampling_stride=3)
    views = VideoViews(rows, processor.video_processor, num_frames=4)
    toy_trainer(clip, toy_arguments(tmp_path), train_dataset=clips, eval_dataset=views, processing_class=processor)
    assert "trained with 4 frames strided, 3 apart, and evaluated and served with 4 frames uniform" in caplog.text
    assert processor.video_processor.sampling == "uniform"
