"""Tokenizer and video processor as one object, from our own folders and from plain CLIP ones."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_checkpoint import toy_processor, write_rising_video
from transformers import CLIPImageProcessor, CLIPProcessor, CLIPTokenizer
from vita_clip_hf.modeling import processing_vita_clip
from vita_clip_hf.modeling.processing_vita_clip import VitaClipProcessor
from vita_clip_hf.modeling.video_processing_vita_clip import VitaClipVideoProcessor
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError

TEXTS = ["a dog", "a person riding a horse."]
FRAMES = np.random.default_rng(0).integers(0, 256, (6, 40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> CLIPTokenizer:
    """CLIP's rules over single letters: small enough to be made here."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + ["."]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def processor(tokenizer) -> VitaClipProcessor:
    return VitaClipProcessor(tokenizer, VitaClipVideoProcessor(num_frames=4, size=32, crop_size=32))


def test_text_and_videos_become_model_inputs(processor, tokenizer):
    inputs = processor(text=TEXTS, videos=[FRAMES, FRAMES[:3]], return_tensors="pt", padding=True)
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}
    assert inputs["pixel_values"].shape == (2, 4, 3, 32, 32)
    expected = tokenizer(TEXTS, padding=True, return_tensors="pt")
    torch.testing.assert_close(inputs["input_ids"], expected["input_ids"])
    torch.testing.assert_close(inputs["attention_mask"], expected["attention_mask"])


def test_text_or_videos_may_be_left_out(processor):
    assert set(processor(text="a dog", return_tensors="pt")) == {"input_ids", "attention_mask"}
    assert set(processor(videos=FRAMES, return_tensors="pt")) == {"pixel_values"}
    with pytest.raises(ValueError, match="at least one input"):
        processor()


def test_settings_of_the_video_processor_reach_it_by_name_or_group(processor):
    named = processor(videos=FRAMES, num_frames=2, num_temporal_views=3, return_tensors="pt")["pixel_values"]
    assert named.shape == (1, 3, 2, 3, 32, 32)
    group = {"num_frames": 2, "num_temporal_views": 3}
    grouped = processor(text="a dog", videos=FRAMES, videos_kwargs=group, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(grouped, named)


def test_a_lone_argument_that_can_only_be_a_video_is_taken_as_one(processor, tmp_path):
    path = write_rising_video(tmp_path / "clip.mp4").rename(tmp_path / "a clip")  # one that exists needs no ending
    for video in (str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), [path, path]):
        expected = processor(videos=video, return_tensors="pt")["pixel_values"]
        assert torch.equal(processor(video, return_tensors="pt")["pixel_values"], expected)
    expected = processor(videos=FRAMES, return_tensors="pt")["pixel_values"]
    for frames in (FRAMES, torch.from_numpy(FRAMES), list(FRAMES), [Image.fromarray(frame) for frame in FRAMES]):
        assert torch.equal(processor(frames, return_tensors="pt")["pixel_values"], expected)
    both = processor(FRAMES, text=TEXTS, return_tensors="pt", padding=True)
    assert set(both) == {"input_ids", "attention_mask", "pixel_values"}
    assert torch.equal(both["pixel_values"], expected)


@pytest.mark.parametrize("video", ["clip.mp4", "no folder/clip.MOV", "ftp://host/clip", "FILE:///clip.mp4"])
def test_a_lone_text_that_names_a_file_is_a_video_even_if_it_is_not_there(processor, video):
    with pytest.raises(VideoReadError, match=re.escape(video)):
        processor(video)


@pytest.mark.parametrize(
    "text", ["a dog", "a dog.", ["a dog"], ("a dog", "a cat"), ["a.mp4", "b.mp4"], "", [FRAMES, "a"]]
)
def test_a_lone_text_asks_for_the_name_of_the_argument(processor, text):
    with pytest.raises(ValueError, match=r"may be text or the path of a video; write text=\.\.\. or videos=\.\.\."):
        processor(text)


@pytest.mark.parametrize("given", [None, 3, {}, [], [["a"]], np.zeros((2, 2))])
def test_a_lone_argument_that_is_no_video_is_refused(processor, given):
    with pytest.raises(ValueError, match="video"):
        processor(given)


@pytest.mark.parametrize("inputs", [{"images": FRAMES}, {"audio": FRAMES}, {"images": [FRAMES], "text": "a dog"}])
def test_images_and_audio_are_refused_and_not_dropped(processor, inputs):
    with pytest.raises(ValueError, match=f"takes text= and videos=, found {next(iter(inputs))}="):
        processor(**inputs)
    with pytest.raises(ValueError, match=r"takes text= and videos=, found images_kwargs="):
        processor(videos=FRAMES, images_kwargs={"size": 3})
    assert set(processor(images=None, audio=None, videos=FRAMES, images_kwargs={})) == {"pixel_values"}


def test_two_inputs_without_names_are_refused(processor):
    for inputs, named in (((FRAMES, "a dog"), {}), ((FRAMES,), {"videos": FRAMES})):
        with pytest.raises(ValueError, match="More than one input"):
            processor(*inputs, **named)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_frame": 16}, "VitaClipProcessor has no argument num_frame; is num_frames meant"),
        ({"videos_kwargs": {"num_frame": 16}}, "videos_kwargs has no argument num_frame; is num_frames meant"),
        ({"text_kwargs": {"paddin": True}}, "text_kwargs has no argument paddin; is padding meant"),
        ({"common_kwargs": {"padding": True}}, "common_kwargs has no argument padding"),
        ({"stride": 4}, "no argument stride; is frame_stride meant"),
        ({"nonsense": 1}, "no argument nonsense"),
        ({"fps": 2}, "fps=2 was given"),
        ({"videos_kwargs": {"fps": 2}}, "fps=2 was given"),
    ],
)
def test_settings_that_are_not_known_or_not_followed_are_refused(processor, setting, message):
    with pytest.raises(ValueError, match=message):
        processor(text="a dog", videos=FRAMES, **setting)


def test_model_input_names_are_those_of_the_model(processor):
    assert processor.model_input_names == ["input_ids", "attention_mask", "pixel_values"]


def test_saved_processor_loads_whole_and_in_parts(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = VitaClipProcessor.from_pretrained(tmp_path)
    assert loaded.video_processor.to_dict() == processor.video_processor.to_dict()
    assert VitaClipVideoProcessor.from_pretrained(tmp_path).num_frames == 4
    assert VitaClipProcessor.from_pretrained(tmp_path, num_frames=2).video_processor.num_frames == 2
    expected = processor(text=TEXTS, videos=FRAMES, return_tensors="pt", padding=True)
    for name, value in loaded(text=TEXTS, videos=FRAMES, return_tensors="pt", padding=True).items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("nested", [True, False])
def test_plain_clip_folder_loads_with_its_image_settings(tokenizer, tmp_path, nested):
    image_processor = CLIPImageProcessor(size={"shortest_edge": 48}, crop_size=40)
    if nested:  # as transformers 5 saves it
        CLIPProcessor(image_processor, tokenizer).save_pretrained(tmp_path)
    else:  # as CLIP checkpoints on the Hub have it
        image_processor.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    inputs = VitaClipProcessor.from_pretrained(tmp_path)(text=TEXTS, videos=FRAMES, return_tensors="pt", padding=True)
    assert inputs["pixel_values"].shape == (1, 8, 3, 40, 40)
    assert inputs["input_ids"].tolist() == tokenizer(TEXTS, padding=True)["input_ids"]


def test_clips_own_tokenizer_loads_with_the_video_processor(shared_dir, tmp_path):
    CLIPImageProcessor().save_pretrained(tmp_path)
    CLIPTokenizer.from_pretrained(shared_dir / "data/clip_tokenizer").save_pretrained(tmp_path)
    ids = VitaClipProcessor.from_pretrained(tmp_path)(text="a photo of a dog")["input_ids"]
    assert ids == [49406, 320, 1125, 539, 320, 1929, 49407]


def test_saved_folder_works_by_remote_code_without_the_package(processor, tmp_path):
    """Registered classes write `auto_map` and copy their files; the folder alone is then enough."""
    program = """
import sys
import numpy as np
from transformers import AutoProcessor, AutoVideoProcessor
sys.modules["vita_clip_hf"] = None  # importing it would fail
folder = sys.argv[1]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
assert type(processor).__name__ == "VitaClipProcessor", type(processor)
assert type(processor).__module__.startswith("transformers_modules"), type(processor)
inputs = processor(text="a dog", videos=np.zeros((6, 40, 40, 3), np.uint8), return_tensors="pt")
assert inputs["pixel_values"].shape == (1, 4, 3, 32, 32)
assert inputs["input_ids"].shape[0] == 1
video_processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
assert type(video_processor).__name__ == "VitaClipVideoProcessor", type(video_processor)
"""
    save = """
import sys
from vita_clip_hf.modeling.processing_vita_clip import VitaClipProcessor
from vita_clip_hf.modeling.video_processing_vita_clip import VitaClipVideoProcessor
VitaClipVideoProcessor.register_for_auto_class()
VitaClipProcessor.register_for_auto_class()
VitaClipProcessor.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""
    processor.save_pretrained(tmp_path / "plain")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment["HF_MODULES_CACHE"] = str(tmp_path / "modules")
    target = tmp_path / "with_code"
    for code, arguments in ((save, [tmp_path / "plain", target]), (program, [target])):
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
    copied = {path.name for path in target.glob("*.py")}
    needed = {"processing_vita_clip.py", "video_processing_vita_clip.py", "video_reading_vita_clip.py"}
    assert copied >= needed
    source = Path(processing_vita_clip.__file__).parent
    assert all((target / name).read_text() == (source / name).read_text() for name in needed)


# ---- where it is loaded from, and files that are not what they should be ----


def test_a_full_disk_leaves_the_files_of_before(tmp_path, monkeypatch):
    toy_processor().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write_half(self, path, *args, **kwargs):
        Path(path).write_text("{")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(VitaClipProcessor, "to_json_file", write_half)
    changed = toy_processor()
    changed.video_processor.num_frames += 1
    with pytest.raises(OSError, match="No space left"):
        changed.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_paths_of_what_was_written_are_returned(tmp_path):
    (written,) = toy_processor().save_pretrained(tmp_path)
    assert Path(written) == tmp_path / "processor_config.json"
    assert Path(written).is_file()


@pytest.fixture
def saved(tmp_path):
    toy_processor().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_processor_and_video_processor_load_from_a_package():
    name = "package://vita_clip_hf/demo/tiny_clip"
    assert len(VitaClipProcessor.from_pretrained(name).tokenizer(["a b"])["input_ids"][0]) > 2
    assert VitaClipVideoProcessor.from_pretrained(name).crop_size.height > 0


def test_a_tokenizer_without_words_is_an_error_that_names_its_files(saved):
    """transformers makes an empty one, which gives all texts the same tokens."""
    (saved / "tokenizer.json").unlink()
    with pytest.raises(OSError, match=rf"{saved} has a tokenizer without words; expected tokenizer\.json"):
        VitaClipProcessor.from_pretrained(saved)
    (saved / "tokenizer_config.json").unlink()
    with pytest.raises(OSError, match=rf"{saved} has a tokenizer without words; expected tokenizer\.json"):
        VitaClipProcessor.from_pretrained(saved)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("content", ["[]", "null", "{", '{"a":' * 10**5, "\0"])
def test_a_damaged_file_is_an_error_of_one_line(saved, name, content):
    (saved / name).write_text(content)
    with pytest.raises((OSError, ValueError)) as caught:
        VitaClipProcessor.from_pretrained(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("image_mean", "x"), ("image_std", [0, 1, 1]), ("image_std", [1, 1]), ("rescale_factor", float("inf"))),
        *(("size", {"shortest_edge": 10**9}), ("size", -1), ("crop_size", {"height": "x", "width": 3})),
        *(("num_frames", 10**9), ("num_temporal_views", 10**9), ("sampling", 3), ("num_frames", "8")),
        *(("resample", 99), ("resample", -1), ("num_spatial_views", 2**17), ("auto_map", 0), ("auto_map", [])),
        # Each is allowed alone; all frames together would take GBs.
        *(
            ("size", {"shortest_edge": 2**13}),
            ("crop_size", 2**13),
        ),
    ],
)
def test_a_stored_setting_that_makes_no_sense_is_an_error_that_names_it(saved, setting, value):
    content = json.loads((saved / "processor_config.json").read_text())
    content["video_processor"][setting] = value
    (saved / "processor_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=setting):
        VitaClipProcessor.from_pretrained(saved)


def test_a_file_does_not_choose_the_device(saved):
    content = json.loads((saved / "processor_config.json").read_text())
    content["video_processor"]["device"] = "nowhere"
    (saved / "processor_config.json").write_text(json.dumps(content))
    assert getattr(VitaClipProcessor.from_pretrained(saved).video_processor, "device", None) is None
