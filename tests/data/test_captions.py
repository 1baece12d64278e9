"""Captions as the retrieval benchmarks publish them."""

import json
from pathlib import Path

import pytest

from vita_clip_hf.data.captions import load_captions


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "videos"
    (folder / "below").mkdir(parents=True)
    for name in ("a.mp4", "below/b.avi"):
        (folder / name).write_bytes(b"")
    return folder


def written(tmp_path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize("header", ["video,caption", "key,vid_key,video_id,sentence", "video,sentence"])
def test_a_csv(tmp_path, videos, header):
    before = "k,m," if header.startswith("key") else ""
    path = written(
        tmp_path, "list.csv", f'{header}\n{before}a,"one, two"\n{before}b,three\n{before}a,four\n{before}c,five\n'
    )
    found = load_captions(path, videos)
    assert found.captions == ["one, two", "three", "four", "five"]
    assert found.video_of_caption == [0, 1, 0, 2]
    assert [Path(video).name for video in found.videos] == ["a.mp4", "b.avi", "c"]  # c is missing


def test_lsmdc(tmp_path, videos):
    path = written(tmp_path, "lsmdc_test.csv", "a\t0\t1\t0\t1\tSOMEONE runs.\nb\t0\t1\t0\t1\tSOMEONE sits.\n")
    assert load_captions(path, videos).captions == ["SOMEONE runs.", "SOMEONE sits."]


def test_msr_vtt_has_a_test_split(tmp_path, videos):
    content = {
        "videos": [{"video_id": "a", "split": "test"}, {"video_id": "b", "split": "train"}],
        "sentences": [{"video_id": "a", "caption": "x"}, {"video_id": "b", "caption": "y"}],
    }
    path = written(tmp_path, "MSRVTT_data.json", json.dumps(content))
    assert load_captions(path, videos).captions == ["x"]


def test_sentences_of_didemo_are_joined(tmp_path, videos):
    content = [{"video": "a.mp4", "description": " one. "}, {"video": "b.avi", "description": "two."}]
    content.append({"video": "a.mp4", "description": "three."})
    path = written(tmp_path, "test_data.json", json.dumps(content))
    found = load_captions(path, videos)
    assert found.captions == ["one. three.", "two."]
    assert [Path(video).name for video in found.videos] == ["a.mp4", "b.avi"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "a,b\n1,2\n", "expected the columns video and caption, found a, b"),
        ("x.csv", "video,caption\na,\n", "row 2: expected a video and a caption"),
        ("x.csv", "", "found none"),
        ("x.csv", "a\t1\n", "line 1: expected a clip, four times"),
        ("x.json", "[", "is not JSON"),
        ("x.json", "{}", "'videos' is missing"),
        ("x.json", "[1]", "is missing or of another form"),
        ("x.json", "[]", "has no captions"),
    ],
)
def test_other_files_are_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        load_captions(written(tmp_path, name, text))
