"""A checkpoint of any kind by its name."""

import json

import pytest
import torch
from benchmark_videos import write_video
from plain_evaluation import all_frames
from safetensors.torch import load_file, save_file
from toy_checkpoint import save_toy_checkpoint, toy_processor
from toy_vita_clip import save_toy_clip
from toy_x_clip import NUM_FRAMES, save_toy_x_clip, x_clip_processor
from transformers import XCLIPModel

from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.models import ClipMean, VitaClip, XClip, fixed_num_frames, load_model


def test_an_adapter_is_vita_clip(tmp_path):
    model, processor = load_model(save_toy_checkpoint(tmp_path))
    assert type(model) is VitaClip
    assert not model.model.training
    assert model.tokenizer is processor.tokenizer
    assert fixed_num_frames(model) is None


def test_a_device_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="This machine has no device cuda:99; it has cpu"):
        load_model(save_toy_checkpoint(tmp_path), device="cuda:99")


def test_a_full_checkpoint_is_vita_clip(tmp_path):
    model, _ = load_model(save_toy_checkpoint(tmp_path))
    model.model.save_pretrained(tmp_path / "full", adapter_only=False)
    toy_processor().save_pretrained(tmp_path / "full")
    again, _ = load_model(tmp_path / "full")
    assert type(again) is VitaClip
    texts = [one.encode_classes() for one in (model, again)]
    torch.testing.assert_close(*texts)


def test_a_clip_is_averaged_over_its_frames(tmp_path):
    save_toy_clip(tmp_path)
    toy_processor().save_pretrained(tmp_path)
    model, _ = load_model(tmp_path, dtype=torch.bfloat16)
    assert type(model) is ClipMean
    assert model.dtype == torch.bfloat16


@torch.no_grad()
def test_x_clip_gives_the_logits_of_transformers_own_usage(tmp_path):
    """From the file: X-CLIP's own processor and model on the same frames."""
    folder = save_toy_x_clip(tmp_path / "x_clip")
    path = write_video(tmp_path / "video.mp4", num_frames=NUM_FRAMES)
    names = ["a dog runs", "a cat sleeps", "tai chi"]
    frames = list(all_frames(path)[0])
    inputs = x_clip_processor()(text=names, videos=[frames], return_tensors="pt", padding=True)
    pixel_values = inputs["pixel_values"].reshape(1, NUM_FRAMES, 3, 16, 16)
    expected = XCLIPModel.from_pretrained(folder).eval()(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=pixel_values
    )
    model, processor = load_model(folder)
    assert type(model) is XClip
    assert fixed_num_frames(model) == processor.video_processor.num_frames == NUM_FRAMES
    raw = processor(videos=str(path), do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    video = model.encode_videos(PixelNormalization.of(processor)(raw))
    logits = model.logits(video, model.encode_labels(names))
    torch.testing.assert_close(logits, expected.logits_per_video, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("place", ["./absent", "/absent/model", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(place):
    with pytest.raises(OSError, match=f"{place}: no such folder"):
        load_model(place)


def test_other_kinds_of_model_and_missing_files_are_named(tmp_path):
    with pytest.raises(OSError, match=r"has no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="of the type 'bert'; expected one of 'vita_clip'"):
        load_model(tmp_path)
    save_toy_clip(tmp_path)
    with pytest.raises(OSError, match="no whole processor"):
        load_model(tmp_path)


# ---- a CLIP or an X-CLIP that lies ----


def change_tensors(folder, name, tensor):
    """Another tensor of that name; `None` for none."""
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors if tensor is None else {**tensors, name: tensor}, folder / "model.safetensors", {"format": "pt"})


def change_config(folder, half=None, **fields):
    config = json.loads((folder / "config.json").read_text())
    (config if half is None else config[half]).update(fields)
    (folder / "config.json").write_text(json.dumps(config))


LIES = {
    "missing": (
        lambda folder: change_tensors(folder, "visual_projection.weight", None),
        "does not hold a whole model",
    ),
    "not finite": (
        lambda folder: change_tensors(folder, "logit_scale", torch.tensor(float("nan"))),
        "logit_scale has NaN or infinite values",
    ),
    "integers": (
        lambda folder: change_tensors(folder, "visual_projection.weight", torch.ones(4, 4, dtype=torch.int64)),
        "of the type I64",
    ),
    "other shape": (
        lambda folder: change_tensors(folder, "visual_projection.weight", torch.ones(3, 3)),
        r"has the shape \(3, 3\)",
    ),
    "layers": (
        lambda folder: change_config(folder, "vision_config", num_hidden_layers=10**6),
        "num_hidden_layers is 1000000",
    ),
    "more layers": (
        lambda folder: change_config(folder, "vision_config", mit_num_hidden_layers=10**6),
        "mit_num_hidden_layers is 1000000",
    ),
    "classes": (lambda folder: change_config(folder, num_labels=2**40), "num_labels must be"),
    "quantization": (lambda folder: change_config(folder, quantization_config={"quant_method": "x"}), "quantization"),
    "pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        r"pytorch_model\.bin cannot be used",
    ),
}


@pytest.mark.parametrize("save", [save_toy_clip, save_toy_x_clip])
@pytest.mark.parametrize("lie", LIES)
def test_a_model_of_transformers_that_lies_is_refused_by_name(tmp_path, save, lie):
    """transformers draws missing weights at random and says so in a log."""
    folder = save(tmp_path / "lie")
    toy_processor().save_pretrained(folder)
    change, message = LIES[lie]
    change(folder)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_chooses_no_attention_for_a_clip(tmp_path):
    folder = save_toy_clip(tmp_path)
    toy_processor().save_pretrained(folder)
    change_config(folder, _attn_implementation="evil/kernel", attn_implementation="evil/kernel")
    assert load_model(folder)[0].model.config._attn_implementation in ("sdpa", "eager")
