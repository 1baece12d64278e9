"""`examples/compare_neighbours.py` on a CLIP, an adapter and a CLIP that was trained as a whole."""

import runpy
from pathlib import Path

from bad_videos import write_motion_shapes
from toy_checkpoint import toy_adapter_on, toy_processor
from toy_vita_clip import NUM_FRAMES, save_toy_clip

from vita_clip_hf.data import load_videos
from vita_clip_hf.evaluation import load_report
from vita_clip_hf.training.methods import load_model_to_train
from vita_clip_hf.training.options import ModelOptions

EXAMPLE = Path(__file__).parents[2] / "examples" / "compare_neighbours.py"


def test_reports_of_all_models_are_written_and_compared(tmp_path, capsys):
    videos = write_motion_shapes(tmp_path / "videos", 14)
    labels = load_videos(videos).features["label"].names
    clip = save_toy_clip(tmp_path / "clip", max_position_embeddings=77)
    toy_adapter_on(clip, labels).save_pretrained(tmp_path / "adapter")
    whole = load_model_to_train(ModelOptions(method="finetune", base=str(clip)), labels, NUM_FRAMES)
    whole.save_pretrained(tmp_path / "whole")
    models = [tmp_path / name for name in ("clip", "adapter", "whole")]
    for model in models:
        toy_processor().save_pretrained(model)
    settings = ["--protocol", "supervised", "--videos", videos.parent, "--list", videos, "--out", tmp_path / "out"]
    runpy.run_path(str(EXAMPLE))["main"]([str(word) for word in (*models, *settings)])
    reports = [load_report(tmp_path / "out" / f"{number}-{model.name}") for number, model in enumerate(models)]
    assert [len(report.predictions) for report in reports] == [14, 14, 14]
    printed = capsys.readouterr().out
    assert all(f"{100 * report.figures['top_1']:.2f}" in printed for report in reports)
    assert "## Against clip, top-1 on the same videos" in printed
