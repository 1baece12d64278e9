"""Explanations from a checkpoint: of Vita-CLIP and of plain CLIP, and of no other model."""

import pytest
from toy_checkpoint import toy_processor, write_rising_video
from toy_vita_clip import save_toy_clip, toy_model
from vita_clip_hf.modeling.modeling_efficient_prompt import EfficientPromptModel

from vita_clip_hf.visualize.explain import explain, load_explained
from vita_clip_hf.visualize.occlusion import frame_importance


def test_an_explanation_has_the_models_scores_and_the_importance_of_each_frame(tmp_path):
    model, processor = toy_model(), toy_processor()
    video = write_rising_video(tmp_path / "video.mp4")
    found = explain(model, processor, str(video))
    clip = processor.video_processor(str(video), return_tensors="pt")["pixel_values"]
    probabilities = model(clip).logits_per_video.softmax(dim=-1)[0]
    best = int(probabilities.argmax())
    assert found.scores[0][0] == model.config.label_names[best]
    assert found.scores[0][1] == pytest.approx(probabilities[best].item(), abs=1e-5)
    assert found.importance == pytest.approx(frame_importance(model, clip[0], best), abs=1e-5)


def test_a_plain_clip_is_explained_as_a_model_without_prompts(tmp_path):
    save_toy_clip(tmp_path / "clip")
    toy_processor().save_pretrained(tmp_path / "clip")
    model, _ = load_explained(str(tmp_path / "clip"))
    assert not model.config.use_summary_token


def test_a_model_with_other_prompts_is_refused_by_name(tmp_path):
    clip, adapter = save_toy_clip(tmp_path / "clip"), tmp_path / "adapter"
    fields = {"num_frames": 2, "num_temporal_heads": 4, "prefix_length": 3, "suffix_length": 2}
    EfficientPromptModel.from_pretrained(clip, id2label={0: "swim", 1: "run"}, **fields).save_pretrained(adapter)
    toy_processor().save_pretrained(adapter)
    with pytest.raises(ValueError, match="is a EfficientPromptModel; only Vita-CLIP and CLIP can be explained"):
        load_explained(str(adapter))
