"""Training clips: the same samples however they are read, and what becomes of videos that cannot be."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from bad_videos import EMPTY, REASONS, SOUND_ONLY, TRUNCATED, break_videos, write_motion_shapes
from torch.utils.data import DataLoader
from vita_clip_hf.modeling.video_processing_vita_clip import FrameSampling
from vita_clip_hf.modeling.video_reading_vita_clip import read_video

from vita_clip_hf import VitaClipVideoProcessor
from vita_clip_hf.data import StreamedVideoClips, VideoClips, VideoViews, collate_clips, load_videos
from vita_clip_hf.data.rows import read_row, source_of
from vita_clip_hf.data.sampling import TrainingSampling

SETTINGS = {"num_frames": 3, "sampling": "dense", "sampling_stride": 2}


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 12)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return break_videos(write_motion_shapes(tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def processor():
    return VitaClipVideoProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def add_noise(clip, generator):
    """Stands for an augmentation: one random number for the whole clip."""
    return clip + torch.randint(1, 100, (), generator=generator, dtype=torch.uint8)


def batches(dataset, **settings):
    return list(DataLoader(dataset, batch_size=4, collate_fn=collate_clips, **settings))


# ---- frames ----


def draws(sampling: TrainingSampling, total: int, times: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.tensor([sampling.indices(total, generator) for _ in range(times)])


def test_dense_frames_are_a_stride_apart_from_every_start():
    indices = draws(TrainingSampling("dense", 4, 3), 15)
    assert torch.equal(indices.diff(dim=1), torch.full((300, 3), 3))
    assert indices[:, 0].unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_dense_frames_of_a_short_video_repeat_the_last():
    assert draws(TrainingSampling("dense", 4, 3), 8).unique(dim=0).tolist() == [[0, 3, 6, 7]]


def test_tsn_draws_each_frame_from_its_segment():
    indices = draws(TrainingSampling("tsn", 3), 10)
    assert [indices[:, step].unique().tolist() for step in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert draws(TrainingSampling("tsn", 3), 2, times=1).tolist() == [[0, 1, 1]]


def test_a_sampling_that_is_not_known_is_named():
    with pytest.raises(ValueError, match="strided, dense, tsn, uniform; found 'tns'"):
        TrainingSampling("tns")


@pytest.mark.parametrize(("name", "at_test_time"), [("dense", "strided"), ("tsn", "uniform"), ("uniform", "uniform")])
def test_trainings_words_have_the_processors_word_for_test_time(name, at_test_time):
    assert TrainingSampling(name, 4, 3).at_test_time() == FrameSampling(4, at_test_time, 3)


def test_dense_is_an_alias_of_strided():
    assert torch.equal(draws(TrainingSampling("dense", 4, 3), 15), draws(TrainingSampling("strided", 4, 3), 15))


# ---- samples ----


def test_a_sample_is_made_of_the_frames_that_were_drawn(annotations, processor):
    dataset = load_videos(annotations)
    sample = VideoClips(dataset, processor, num_frames=3, sampling="uniform")[5]
    frames, _ = read_video(dataset[5]["video"], lambda metadata: [2, 6, 10])
    expected = processor([frames], do_sample_frames=False, do_rescale=False, do_normalize=False, return_tensors="pt")
    assert torch.equal(sample["pixel_values"], expected["pixel_values"][0])
    assert sample["pixel_values"].dtype == torch.uint8
    assert sample["labels"] == dataset[5]["label"]


def test_samples_do_not_depend_on_workers_or_on_the_global_generator(annotations, processor):
    clips = VideoClips(load_videos(annotations), processor, augmentation=add_noise, **SETTINGS)
    torch.manual_seed(0)
    alone = batches(clips)
    torch.manual_seed(1)
    with_workers = batches(clips, num_workers=2)
    assert all(torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(alone, with_workers, strict=True))
    state = torch.get_rng_state()
    clips[0]
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epoch_reaches_workers_that_stay(annotations, processor):
    dataset = load_videos(annotations)
    clips = VideoClips(dataset, processor, augmentation=add_noise, **SETTINGS)
    loader = DataLoader(clips, batch_size=12, num_workers=1, persistent_workers=True, collate_fn=collate_clips)
    first = next(iter(loader))["pixel_values"]
    again = next(iter(loader))["pixel_values"]
    clips.set_epoch(1)
    second = next(iter(loader))["pixel_values"]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    resumed = VideoClips(dataset, processor, augmentation=add_noise, **SETTINGS)
    resumed.set_epoch(1)
    assert torch.equal(second, next(iter(DataLoader(resumed, batch_size=12)))["pixel_values"])


def test_seeds_give_other_samples(annotations, processor):
    dataset = load_videos(annotations)
    one, other = (VideoClips(dataset, processor, augmentation=add_noise, seed=seed, **SETTINGS) for seed in (0, 1))
    assert any(not torch.equal(one[i]["pixel_values"], other[i]["pixel_values"]) for i in range(4))


def test_a_part_of_a_file_is_kept_to(annotations, processor, tmp_path):
    video = load_videos(annotations)[0]["video"]  # 12 frames, 8 a second
    (tmp_path / "list.csv").write_text(f"{video},0,0.5,1.25\n")
    part = load_videos(tmp_path / "list.csv", class_names=["x"])
    sample = VideoClips(part, processor, num_frames=6, sampling="uniform")[0]
    frames, _ = read_video(video, lambda metadata: range(4, 10))
    expected = processor([frames], do_sample_frames=False, do_rescale=False, do_normalize=False, return_tensors="pt")
    assert torch.equal(sample["pixel_values"], expected["pixel_values"][0])
    (tmp_path / "list.csv").write_text(f"{video},0,7,8\n")
    late = VideoClips(load_videos(tmp_path / "list.csv", class_names=["x"]), processor)
    with pytest.raises(OSError, match=r"000000\.mp4: ends after 1\.5 s, before second 7"):
        late[0]


# ---- bad videos ----


def test_raising_names_the_first_bad_video_and_the_cause(broken, processor):
    clips = VideoClips(broken, processor, **SETTINGS)
    with pytest.raises(OSError, match=rf"00000{TRUNCATED}\.mp4: incomplete MP4/MOV file") as raised:
        batches(clips)
    assert str(raised.value).startswith(broken[TRUNCATED]["video"])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipping_reports_exactly_the_bad_videos(broken, processor, num_workers):
    clips = VideoClips(broken, processor, on_bad_video="skip", seed=1, **SETTINGS)
    read = batches(clips, num_workers=num_workers)
    skipped = [entry for batch in read for entry in batch.get("skipped", [])]
    assert sum(len(batch["labels"]) for batch in read) == len(broken)
    assert sum("skipped" in batch for batch in read) == len(REASONS)
    assert {video for video, _ in skipped} == {broken[index]["video"] for index in REASONS}
    for index, reason in REASONS.items():
        assert all(reason in found for video, found in skipped if video == broken[index]["video"])


def test_what_stands_in_is_the_same_each_time_and_has_its_own_label(broken, processor):
    clips = VideoClips(broken, processor, on_bad_video="skip", sampling="uniform", num_frames=3)
    sample = clips[EMPTY]
    assert torch.equal(sample["pixel_values"], clips[EMPTY]["pixel_values"])
    others = [index for index in range(len(broken)) if index not in REASONS]
    same = [index for index in others if torch.equal(clips[index]["pixel_values"], sample["pixel_values"])]
    assert [broken[index]["label"] for index in same] == [sample["labels"]]


def test_a_data_set_that_is_all_bad_is_an_error_even_when_skipping(broken, processor):
    clips = VideoClips(broken.select(list(REASONS)), processor, on_bad_video="skip")
    with pytest.raises(OSError, match=r"none of 10 videos drawn in its place can be read"):
        clips[0]


def test_batches_without_bad_videos_have_no_such_key():
    sample = {"pixel_values": torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "labels": 1}
    assert collate_clips([sample, sample]).keys() == {"pixel_values", "labels"}
    assert collate_clips([sample, {**sample, "skipped": [("a", "b")]}])["skipped"] == [("a", "b")]


# ---- views ----


def test_views_are_the_processors_own(annotations, processor):
    dataset = load_videos(annotations)
    views = VideoViews(dataset, processor, temporal_views=2, spatial_views=3, num_frames=4, sampling="strided")
    expected = processor(
        dataset[2]["video"],
        num_temporal_views=2,
        num_spatial_views=3,
        num_frames=4,
        sampling="strided",
        do_rescale=False,
        do_normalize=False,
        return_tensors="pt",
    )["pixel_values"][0]
    assert torch.equal(views[2]["pixel_values"], expected)
    assert views[2]["pixel_values"].shape == (6, 4, 3, 32, 32)
    single = VideoViews(dataset, processor, num_frames=4)[2]
    assert single["pixel_values"].shape == (1, 4, 3, 32, 32)
    assert collate_clips([views[0], views[1]])["pixel_values"].shape == (2, 6, 4, 3, 32, 32)


def test_a_bad_video_in_evaluation_raises_or_keeps_its_place_without_a_label(broken, processor):
    with pytest.raises(OSError, match=r"000041\.mp4: has no video stream"):
        VideoViews(broken, processor)[SOUND_ONLY]
    sample = VideoViews(broken, processor, temporal_views=2, num_frames=4, on_bad_video="skip")[SOUND_ONLY]
    assert sample["labels"] == -100
    assert sample["pixel_values"].shape == (2, 4, 3, 32, 32)
    ((video, reason),) = sample["skipped"]
    assert (video, reason.startswith(REASONS[SOUND_ONLY])) == (broken[SOUND_ONLY]["video"], True)


# ---- streams ----


def write_shards(folder: Path, videos: list[str], counts: list[int]) -> str:
    """Tar files of so many videos each; sample k has the label k."""
    number = 0
    for shard, count in enumerate(counts):
        with tarfile.open(folder / f"{shard:02d}.tar", "w") as tar:
            for _ in range(count):
                for extension, content in (
                    ("mp4", Path(videos[number]).read_bytes()),
                    ("cls", str(number).encode()),
                ):
                    info = tarfile.TarInfo(f"{number:03d}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                number += 1
    return str(folder / "*.tar")


@pytest.mark.parametrize("counts", [[1, 4, 2, 3, 2], [5, 1, 4, 2]], ids=["5 shards", "4 shards"])
def test_two_ranks_with_two_workers_each_see_every_sample_once(annotations, processor, tmp_path, counts):
    pattern = write_shards(tmp_path, load_videos(annotations)["video"][:], counts)
    stream = load_videos(pattern, class_names=[str(k) for k in range(12)], streaming=True)
    seen = []
    for rank in range(2):
        clips = StreamedVideoClips(stream, processor, rank=rank, world_size=2, **SETTINGS)
        found = [label for batch in batches(clips, num_workers=2) for label in batch["labels"].tolist()]
        assert found
        seen += found
    assert sorted(seen) == list(range(12))


def test_a_streamed_sample_does_not_depend_on_who_reads_it(annotations, processor, tmp_path):
    pattern = write_shards(tmp_path, load_videos(annotations)["video"][:], [3, 3, 3, 3])
    stream = load_videos(pattern, class_names=[str(k) for k in range(12)], streaming=True)

    def by_label(epoch: int, **settings):
        clips = StreamedVideoClips(stream, processor, augmentation=add_noise, **SETTINGS)
        clips.set_epoch(epoch)
        read = batches(clips, **settings)
        labels = torch.cat([batch["labels"] for batch in read]).tolist()
        return dict(zip(labels, torch.cat([batch["pixel_values"] for batch in read]), strict=True))

    alone, shared, later = by_label(0), by_label(0, num_workers=2), by_label(1)
    assert all(torch.equal(alone[label], shared[label]) for label in range(12))
    assert any(not torch.equal(alone[label], later[label]) for label in range(12))


def test_bad_videos_of_a_stream_are_left_out_and_named_to_the_last(broken, processor, tmp_path):
    chosen = [0, TRUNCATED, 5, EMPTY]
    folder = shutil.copytree(Path(broken[0]["video"]).parent, tmp_path / "copy")
    videos = [str(folder / Path(broken[index]["video"]).name) for index in chosen]
    pattern = write_shards(tmp_path, videos, [4])
    stream = load_videos(pattern, class_names=["0", "1", "2", "3"], streaming=True)
    samples = list(StreamedVideoClips(stream, processor, on_bad_video="skip", **SETTINGS))
    assert [sample["labels"] for sample in samples] == [0, 2]
    skipped = [entry for sample in samples for entry in sample.get("skipped", [])]
    assert [video for video, _ in skipped] == ["001.mp4", "003.mp4"]
    assert "is empty" in skipped[1][1]
    with pytest.raises(OSError, match=r"001\.mp4: incomplete MP4/MOV file"):
        list(StreamedVideoClips(stream, processor, **SETTINGS))


def test_a_list_can_be_streamed(annotations, processor):
    stream = load_videos(annotations, streaming=True)
    labels = [sample["labels"] for sample in StreamedVideoClips(stream, processor, **SETTINGS)]
    assert labels == [k % 4 for k in range(12)]


# ---- parts of a file ----


def bars_of(frames: torch.Tensor) -> list[int]:
    """The numbers that frames show as eight bars, white for a bit that is set."""
    width = frames.shape[-1] // 8
    bright = torch.stack([frames[..., bit * width : (bit + 1) * width].float().mean((1, 2, 3)) for bit in range(8)], 1)
    return ((bright > 128).long() * 2 ** torch.arange(8)).sum(1).tolist()


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"start": 4.0, "end": 6.0}, list(range(81, 94))),
        ({"start": 0.0, "end": 1.0}, list(range(25))),
        ({"start": 4.0, "end": None}, list(range(81, 150))),
        ({"start": None, "end": 1.0}, list(range(25))),
        ({"start": float("nan"), "end": float("nan")}, list(range(150))),
        ({}, list(range(150))),
    ],
)
def test_the_part_of_a_file_is_found_by_the_times_of_its_frames(shared_dir, part, shown):
    video = str(shared_dir / "data" / "odd_videos" / "bars_variable_rate.mp4")
    assert bars_of(read_row({"video": video, **part}, range)) == shown


def test_whole_videos_of_kinetics_are_cut_by_the_times_of_their_frames(shared_dir, tmp_path):
    (tmp_path / "whole123456.mp4").symlink_to(shared_dir / "data" / "odd_videos" / "bars_variable_rate.mp4")
    (tmp_path / "k.csv").write_text("label,youtube_id,time_start,time_end\ntai chi,whole123456,4,6\n")
    assert bars_of(read_row(load_videos(tmp_path / "k.csv")[0], range)) == list(range(81, 94))


def test_a_part_that_ends_before_it_starts_is_an_error_of_the_list(annotations, processor):
    row = {"video": load_videos(annotations)[0]["video"], "label": 0, "start": 1.0, "end": 0.5}
    with pytest.raises(ValueError, match=r"000000\.mp4: expected seconds with start before end, found 1 and 0\.5"):
        VideoClips([row], processor, on_bad_video="skip")[0]


def test_workers_that_are_started_anew_give_the_same_clips(annotations, processor):
    """As on macOS and Windows, where nothing is forked."""
    clips = VideoClips(load_videos(annotations), processor, **SETTINGS, augmentation=add_noise)
    here, there = batches(clips), batches(clips, num_workers=1, multiprocessing_context="spawn")
    assert all(torch.equal(one["pixel_values"], other["pixel_values"]) for one, other in zip(here, there, strict=True))


@pytest.mark.parametrize("place", ["HTTPS://host/1.mp4", "File:///videos/1.mp4", "http://host/1.mp4", "videos/1.mp4"])
def test_urls_of_rows_are_opened_by_the_reader_with_its_limits(place):
    assert source_of({"bytes": None, "path": place}) == place
