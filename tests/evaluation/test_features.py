"""The cache: each video once, damage found and mended, several writers, another sampling another place."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmark_videos import write_video
from datasets import Dataset
from toy_checkpoint import save_toy_checkpoint

from vita_clip_hf.data import VideoViews, load_videos
from vita_clip_hf.evaluation import predict
from vita_clip_hf.evaluation.encoding import ClipSampling, encode_videos, open_store
from vita_clip_hf.evaluation.features import FeatureStore, identity_of
from vita_clip_hf.models import VideoFeatures, load_model

SAMPLING = ClipSampling(4, "uniform", None, temporal_views=2, spatial_views=3)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return save_toy_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a/1.avi", "a/2.mp4", "b/1.webm", "b/2.mp4", "b/3.mp4"):
        write_video(folder / name)
    return load_videos(folder)


def features_in(store: FeatureStore, rows: Dataset) -> torch.Tensor:
    found = {}
    for stored in store.read([identity_of(row) for row in rows]):
        found |= dict(zip(stored.positions, stored.features.frame_embeds, strict=True))
    return torch.stack([found[number] for number in range(len(rows))])


def encode(adapter, videos, cache, sampling=SAMPLING, **options):
    model, processor = load_model(adapter)
    calls = []
    model.model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    store = open_store(model, processor, sampling, cache)
    failures = encode_videos(model, processor, videos, sampling, store, **options)
    return store, failures, len(calls)


def test_views_are_those_of_the_one_loop(adapter, videos, tmp_path):
    model, processor = load_model(adapter)
    views = VideoViews(videos, processor.video_processor, temporal_views=2, spatial_views=3, num_frames=4)
    expected = predict(model, views, processor).logits
    store, _, _ = encode(adapter, videos, tmp_path, batch_size=5)
    embeds = features_in(store, videos).mean(2).flatten(0, 1)
    logits = model.logits(VideoFeatures(embeds[:, None], embeds), model.encode_classes()).unflatten(0, (-1, 6))
    mean = logits.softmax(-1).mean(1)
    torch.testing.assert_close(mean, expected.softmax(-1), atol=1e-5, rtol=1e-4)


def test_the_second_time_nothing_is_encoded(adapter, videos, tmp_path):
    first, _, calls = encode(adapter, videos, tmp_path)
    second, _, calls_again = encode(adapter, videos, tmp_path)
    assert calls > 0
    assert calls_again == 0
    assert torch.equal(features_in(first, videos), features_in(second, videos))


@pytest.mark.parametrize(
    "change", [{"num_frames": 3}, {"sampling": "strided", "frame_stride": 2}, {"spatial_views": 1}]
)
def test_another_sampling_is_encoded_anew(adapter, videos, tmp_path, change):
    from dataclasses import replace

    encode(adapter, videos, tmp_path)
    assert encode(adapter, videos, tmp_path, replace(SAMPLING, **change))[2] > 0
    assert encode(adapter, videos, tmp_path)[2] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False},
        {"do_center_crop": False},
        {"do_normalize": False},
        {"do_rescale": False},
        {"image_mean": [0.5] * 3},
        {"resample": 0},
        {"size": {"shortest_edge": 20}},
    ],
)
def test_other_preprocessing_is_another_place(adapter, tmp_path, change):
    model, processor = load_model(adapter)
    place = open_store(model, processor, SAMPLING, tmp_path).folder
    processor.video_processor.num_frames = 7  # the sampling says what is taken, not the processor
    assert open_store(model, processor, SAMPLING, tmp_path).folder == place
    for name, value in change.items():
        setattr(processor.video_processor, name, value)
    assert open_store(model, processor, SAMPLING, tmp_path).folder != place


def test_a_video_that_has_changed_is_another(adapter, tmp_path):
    path = write_video(tmp_path / "videos" / "a" / "1.mp4", seed="one")
    rows = load_videos(tmp_path / "videos")
    before = features_in(encode(adapter, rows, tmp_path / "cache")[0], rows)
    time.sleep(0.01)
    write_video(path, seed="two")
    after = features_in(encode(adapter, rows, tmp_path / "cache")[0], rows)
    assert not torch.allclose(before, after, atol=1e-3)


def test_a_stopped_run_goes_on(adapter, videos, tmp_path):
    encode(adapter, videos.select([0, 1]), tmp_path)
    _, _, calls = encode(adapter, videos, tmp_path, batch_size=6)
    assert calls == 3  # a video of six views each


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "header"])
def test_a_damaged_shard_is_found_and_made_again(adapter, videos, tmp_path, caplog, damage):
    store, _, _ = encode(adapter, videos, tmp_path)
    expected = features_in(store, videos)
    (shard,) = store.folder.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    if damage == "flipped":
        content[-9] ^= 1
    elif damage == "header":
        content[3] = 255
    shard.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(damage, content))
    again, _, calls = encode(adapter, videos, tmp_path)
    assert calls > 0
    assert torch.equal(features_in(again, videos), expected)
    assert f"{shard}: is damaged" in caplog.text
    assert not shard.exists()


@pytest.mark.parametrize("place", [0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_anywhere_is_found(adapter, videos, tmp_path, place):
    store, _, _ = encode(adapter, videos, tmp_path)
    (shard,) = store.folder.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[int(place * len(content))] ^= 4
    shard.write_bytes(content)
    assert encode(adapter, videos, tmp_path)[2] > 0


def test_a_shard_of_another_model_is_none_of_this_one(adapter, videos, tmp_path, caplog):
    store, _, _ = encode(adapter, videos, tmp_path)
    expected = features_in(store, videos)
    model, processor = load_model(adapter)
    with torch.no_grad():
        model.model.visual_projection.weight.mul_(2)
    other = open_store(model, processor, SAMPLING, tmp_path)
    encode_videos(model, processor, videos, SAMPLING, other)
    shards = [next(folder.glob("*.safetensors")) for folder in (store.folder, other.folder)]
    shards[0].write_bytes(shards[1].read_bytes())
    again, _, calls = encode(adapter, videos, tmp_path)
    assert calls > 0
    assert str(shards[0]) in caplog.text
    assert torch.equal(features_in(again, videos), expected)


def test_features_that_are_not_finite_are_an_error_and_are_not_kept(adapter, videos, tmp_path):
    model, processor = load_model(adapter)
    with torch.no_grad():
        model.model.visual_projection.weight[0, 0] = torch.nan
    store = open_store(model, processor, SAMPLING, tmp_path)
    with pytest.raises(ValueError, match="VitaClipModel gives features that are no finite numbers"):
        encode_videos(model, processor, videos, SAMPLING, store)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_half_written_files_are_no_shards(adapter, videos, tmp_path):
    store, _, _ = encode(adapter, videos, tmp_path)
    left = store.folder / ".abc.safetensors-xyz" / "abc.safetensors"
    left.parent.mkdir()
    left.write_bytes(b"half")
    assert encode(adapter, videos, tmp_path)[2] == 0


def test_two_runs_at_once_do_no_harm(adapter, videos, tmp_path):
    folder = Path(videos[0]["video"]).parents[1]
    command = [sys.executable, "-m", "vita_clip_hf.cli", "features", str(folder), "--model", str(adapter)]
    command += ["--cache", str(tmp_path / "cache"), "--num-workers", "0", "--device", "cpu"]
    running = [
        subprocess.Popen([*command, "--out", str(tmp_path / f"{number}.npz")], stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    for process in running:
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()
    first, second = ((tmp_path / f"{number}.npz").stat().st_size for number in range(2))
    assert first == second
    again = FeatureStore(tmp_path / "cache", json.loads(next((tmp_path / "cache").glob("*/about.json")).read_text()))
    assert all(identity_of(row) in again for row in videos)


def test_what_cannot_be_read_is_named_and_tried_again(adapter, tmp_path, caplog):
    write_video(tmp_path / "videos" / "a" / "good.mp4")
    bad = tmp_path / "videos" / "a" / "bad.mp4"
    bad.write_bytes(b"no video")
    rows = load_videos(tmp_path / "videos")
    place = rows["video"].index(str(bad))
    for _ in range(2):
        store, failures, _ = encode(adapter, rows, tmp_path / "cache")
        assert list(failures) == [place]
        assert "is not a video" in failures[place]
        assert identity_of(rows[1 - place]) in store
    assert "1 videos could not be read and are not counted" in caplog.text


def test_rows_that_repeat_a_video_are_encoded_once(adapter, videos, tmp_path):
    rows = videos.select([0, 0, 1, 0])
    store, _, calls = encode(adapter, rows, tmp_path, batch_size=6)
    assert calls == 2
    assert torch.equal(features_in(store, rows)[0], features_in(store, rows)[3])


def test_a_full_disk_is_one_error_and_leaves_nothing(adapter, videos, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from vita_clip_hf.evaluation import features

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(features, "save_file", full)
    with pytest.raises(OSError, match="could not be written: No space left"):
        encode(adapter, videos, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["about.json"]
