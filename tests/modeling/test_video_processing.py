"""Frames sampled, resized, cropped and normalised as CLIP does it, from every form in which a video can be given."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, VideoMAEConfig, VideoMAEForVideoClassification
from transformers.pipelines import VideoClassificationPipeline
from transformers.video_utils import VideoMetadata, make_batched_metadata
from vita_clip_hf.modeling import video_processing_vita_clip
from vita_clip_hf.modeling.video_processing_vita_clip import FrameSampling, VitaClipVideoProcessor
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError


def random_frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def small() -> VitaClipVideoProcessor:
    return VitaClipVideoProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, num_frames=4)


@pytest.fixture(scope="module")
def video_file(tmp_path_factory):
    """20 frames of 64 x 48 pixels; frame i has the grey level 10 * i."""
    av = pytest.importorskip("av", reason="PyAV writes the videos of this test")
    path = tmp_path_factory.mktemp("videos") / "grey.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(0, 200, 10):
            picture = np.full((48, 64, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


def pixels(processor, videos, **kwargs) -> torch.Tensor:
    return processor(videos, return_tensors="pt", **kwargs)["pixel_values"]


def grey_levels(values: torch.Tensor) -> list[int]:
    """Which frame of `video_file` each frame of uint8 pixel values is."""
    return [round(level / 10) for level in values.float().mean(dim=(-3, -2, -1)).flatten().tolist()]


class TestSampling:
    @pytest.mark.parametrize(
        ("total", "expected"),
        [
            (80, [5, 15, 25, 35, 45, 55, 65, 75]),
            (8, [0, 1, 2, 3, 4, 5, 6, 7]),
            (9, [0, 1, 2, 3, 5, 6, 7, 8]),
            (5, [0, 1, 2, 3, 4, 4, 4, 4]),
            (1, [0, 0, 0, 0, 0, 0, 0, 0]),
        ],
    )
    def test_uniform_takes_segment_middles_and_repeats_the_last_frame(self, total, expected):
        assert FrameSampling(num_frames=8).indices(total).tolist() == [expected]

    @pytest.mark.parametrize(
        ("total", "expected"),
        [(100, [43, 47, 51, 55]), (13, [0, 4, 8, 12]), (10, [0, 4, 8, 9]), (2, [0, 1, 1, 1])],
    )
    def test_strided_is_centred_and_repeats_the_last_frame(self, total, expected):
        sampling = FrameSampling(num_frames=4, sampling="strided", frame_stride=4)
        assert sampling.indices(total)[0].tolist() == expected

    def test_strided_views_start_equally_spaced_from_first_to_last_place(self):
        sampling = FrameSampling(num_frames=4, sampling="strided", frame_stride=4, num_temporal_views=3)
        assert sampling.indices(100)[:, 0].tolist() == [0, 43, 87]
        assert sampling.indices(100)[-1, -1] == 99

    def test_uniform_views_share_each_segment_between_them(self):
        sampling = FrameSampling(num_frames=2, num_temporal_views=5)
        assert sampling.indices(100).tolist() == [[5, 55], [15, 65], [25, 75], [35, 85], [45, 95]]

    @pytest.mark.parametrize("sampling", ["uniform", "strided"])
    def test_indices_always_lie_in_the_video_and_never_go_back(self, sampling):
        for total in range(1, 70):
            for views in (1, 2, 3):
                indices = FrameSampling(8, sampling, 5, views).indices(total)
                assert indices.shape == (views, 8)
                assert indices.min() >= 0
                assert indices.max() < total
                assert (np.diff(indices) >= 0).all()

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"num_frames": 0}, "num_frames must be an integer of at least 1, found 0"),
            ({"num_frames": 2.5}, "num_frames must be an integer of at least 1, found 2.5"),
            ({"frame_stride": -1}, "frame_stride must be .*, found -1"),
            ({"num_temporal_views": 0}, "num_temporal_views must be .*, found 0"),
            ({"num_spatial_views": 0}, "num_spatial_views must be .*, found 0"),
            ({"sampling": "random"}, "sampling must be one of 'uniform', 'strided', found 'random'"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused_at_construction_and_call(self, small, setting, message):
        with pytest.raises(ValueError, match=message):
            VitaClipVideoProcessor(**setting)
        with pytest.raises(ValueError, match=f"{next(iter(setting))}"):
            small(random_frames(4, 40, 40, 3), **setting)

    def test_sample_frames_follows_transformers_convention(self, small, video_file):
        metadata = VideoReader(video_file).metadata
        assert small.sample_frames(metadata).tolist() == [2, 7, 12, 17]
        assert small.sample_frames(metadata, num_frames=2, num_temporal_views=2).tolist() == [2, 12, 7, 17]
        assert small.sample_frames(metadata, num_frames=2, size=64, fps=None).tolist() == [5, 15]

    @pytest.mark.parametrize(
        ("setting", "message"),
        [({"fps": 2}, "fps=2 was given"), ({"num_frame": 2}, "is num_frames meant"), ({"num_frames": 0}, "found 0")],
    )
    def test_sample_frames_refuses_what_it_would_not_follow(self, small, setting, message):
        with pytest.raises(ValueError, match=message):
            small.sample_frames(VideoMetadata(total_num_frames=20), **setting)


class TestPixels:
    @pytest.mark.parametrize("size", [(50, 70), (90, 41), (32, 32), (20, 24), (33, 200)])
    @pytest.mark.parametrize("target", [32, 224])
    def test_frames_equal_clips_image_processor(self, size, target):
        settings = {"size": {"shortest_edge": target}, "crop_size": {"height": target, "width": target}}
        frames = random_frames(3, *size, 3)
        expected = CLIPImageProcessor(**settings)(list(frames), return_tensors="pt")["pixel_values"]
        values = pixels(VitaClipVideoProcessor(**settings), frames, do_sample_frames=False)
        assert values.shape == (1, 3, 3, target, target)
        assert values.dtype == torch.float32
        torch.testing.assert_close(values[0], expected, rtol=0, atol=1e-6)

    def test_decoded_file_equals_clips_image_processor(self, small, shared_dir):
        path = shared_dir / "data/videos/short_part_0.mp4"
        frames = VideoReader(path).read_frames([4, 12, 20, 28])
        clip = CLIPImageProcessor(size=dict(small.size), crop_size=dict(small.crop_size))
        expected = clip([frame.contiguous() for frame in frames], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels(small, path)[0], expected, rtol=0, atol=1e-6)

    def test_frames_are_close_to_clips_pil_image_processor(self, shared_dir):
        # PIL and torch both filter uint8 in fixed point but round after each axis differently: one level in 255 at
        # most, which normalisation makes 1 / 255 / 0.26 = 0.0150.
        pil = pytest.importorskip("transformers.models.clip.image_processing_pil_clip").CLIPImageProcessorPil()
        frames = VideoReader(shared_dir / "data/videos/short_part_0.mp4").read_frames([0, 31])
        images = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]
        expected = torch.stack([torch.as_tensor(value) for value in pil(images)["pixel_values"]])
        values = pixels(VitaClipVideoProcessor(), images, do_sample_frames=False)[0]
        assert (values - expected).abs().max() < 0.0151
        assert (values - expected).abs().mean() < 1e-3

    def test_uint8_is_kept_without_rescaling_and_normalising(self, small):
        frames = random_frames(4, 50, 70, 3)
        raw = pixels(small, frames, do_rescale=False, do_normalize=False)
        assert raw.dtype == torch.uint8
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (small.image_mean, small.image_std))
        torch.testing.assert_close((raw / 255 - mean) / std, pixels(small, frames), rtol=0, atol=1e-5)

    def test_rescaled_float_frames_equal_uint8_frames_up_to_rounding(self, small):
        frames = random_frames(4, 32, 32, 3)
        for pixel_type in (np.float32, np.float64, np.float16):
            scaled = (frames / 255).astype(pixel_type)
            torch.testing.assert_close(
                pixels(small, scaled, do_rescale=False), pixels(small, frames), rtol=0, atol=5e-3
            )
        torch.testing.assert_close(pixels(small, frames.astype(np.float32)), pixels(small, frames))

    @pytest.mark.parametrize("size", [(32, 60), (60, 32), (48, 100), (32, 32), (70, 20)])
    def test_spatial_views_are_ends_and_middle_of_the_long_side(self, small, size):
        frames = random_frames(4, *size, 3)
        whole = pixels(small, frames, do_center_crop=False)[0]
        left, middle, right = pixels(small, frames, num_spatial_views=3)[0]
        height, width = whole.shape[-2:]
        torch.testing.assert_close(left, whole[..., :32, :32])
        torch.testing.assert_close(right, whole[..., height - 32 :, width - 32 :])
        torch.testing.assert_close(middle, pixels(small, frames)[0])

    def test_spatial_views_of_frames_smaller_than_the_crop_are_padded_like_the_centre_crop(self, small):
        frames = random_frames(4, 20, 50, 3)
        views = pixels(small, frames, do_resize=False, num_spatial_views=3)[0]
        assert views.shape == (3, 4, 3, 32, 32)
        torch.testing.assert_close(views[1], pixels(small, frames, do_resize=False)[0])

    def test_views_are_ordered_clip_by_clip_and_decoded_once(self, small, video_file, monkeypatch):
        opened = []
        monkeypatch.setattr(
            video_processing_vita_clip,
            "VideoReader",
            lambda *args, read=video_processing_vita_clip.VideoReader, **options: (
                opened.append(args[0]) or read(*args, **options)
            ),
        )
        views = pixels(small, video_file, num_temporal_views=2, num_spatial_views=3)
        assert opened == [video_file]
        assert views.shape == (1, 6, 4, 3, 32, 32)
        reader = VideoReader(video_file)
        for clip, indices in enumerate(([1, 6, 11, 16], [3, 8, 13, 18])):
            crops = pixels(small, reader.read_frames(indices), num_spatial_views=3)[0]
            torch.testing.assert_close(views[0, 3 * clip : 3 * clip + 3], crops)


class TestInputs:
    def test_path_string_bytes_and_file_object_are_the_same_video(self, small, video_file):
        expected = pixels(small, video_file)
        assert expected.shape == (1, 4, 3, 32, 32)
        with open(video_file, "rb") as file:
            for source in (str(video_file), video_file.read_bytes(), file, [video_file]):
                torch.testing.assert_close(pixels(small, source), expected)

    def test_only_chosen_frames_are_decoded(self, small, video_file, monkeypatch):
        asked = []
        read = VideoReader.read_frames
        monkeypatch.setattr(VideoReader, "read_frames", lambda *args: asked.append(args[1]) or read(*args))
        values = pixels(small, video_file, do_rescale=False, do_normalize=False)
        assert asked == [[2, 7, 12, 17]]
        assert grey_levels(values) == [2, 7, 12, 17]

    def test_frames_in_any_container_and_layout_are_the_same_video(self, small):
        frames = random_frames(4, 40, 50, 3)
        expected = pixels(small, frames)
        for same in (
            torch.from_numpy(frames),
            frames.transpose(0, 3, 1, 2),
            torch.from_numpy(frames).permute(0, 3, 1, 2),
            list(frames),
            [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames],
            [Image.fromarray(frame) for frame in frames],
            tuple(Image.fromarray(frame) for frame in frames),
            frames[None],
            [frames],
            frames.astype(np.int64),
        ):
            torch.testing.assert_close(pixels(small, same), expected)

    def test_frames_in_memory_are_sampled_by_index(self, small):
        frames = random_frames(12, 40, 40, 3)
        for video in (frames, torch.from_numpy(frames), list(frames), [Image.fromarray(frame) for frame in frames]):
            torch.testing.assert_close(pixels(small, video), pixels(small, frames[[1, 4, 7, 10]]))
        assert pixels(small, frames, do_sample_frames=False).shape == (1, 12, 3, 32, 32)

    def test_last_frame_repeats_where_frames_are_too_few(self, small):
        frames = random_frames(2, 40, 40, 3)
        torch.testing.assert_close(pixels(small, frames), pixels(small, frames[[0, 1, 1, 1]]))

    def test_single_image_is_a_clip_of_one_frame(self, small):
        frame = random_frames(40, 50, 3)
        for image in (frame, torch.from_numpy(frame).permute(2, 0, 1), Image.fromarray(frame)):
            values = pixels(small, image, num_temporal_views=3)
            assert values.shape == (1, 1, 3, 32, 32)
            torch.testing.assert_close(values, pixels(small, frame[None], do_sample_frames=False))

    def test_videos_of_different_lengths_sizes_and_forms_make_one_batch(self, small, video_file):
        frames, images = random_frames(3, 70, 40, 3), [Image.new("RGB", (90, 33), "red")] * 9
        values = pixels(small, [video_file, frames, images, video_file.read_bytes()])
        assert values.shape == (4, 4, 3, 32, 32)
        for row, video in enumerate((video_file, frames, images, video_file)):
            torch.testing.assert_close(values[row : row + 1], pixels(small, [video]))

    def test_grey_and_transparent_images_become_rgb(self, small):
        red = Image.new("RGB", (40, 40), (255, 0, 0))
        half = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
        values = pixels(small, [red, half, Image.new("L", (40, 40), 255), Image.new("P", (40, 40))])
        white = pixels(small, [Image.new("RGB", (40, 40), "white")])[0, 0]
        torch.testing.assert_close(values[0, 1], white)
        torch.testing.assert_close(values[0, 2], white)
        assert values.shape == (1, 4, 3, 32, 32)

    def test_metadata_on_request(self, small, video_file):
        first, second = small([video_file, random_frames(9, 40, 50, 3)], return_metadata=True)["video_metadata"]
        assert (first.total_num_frames, first.fps, first.frames_indices) == (20, 25.0, [2, 7, 12, 17])
        assert (second.total_num_frames, second.height, second.frames_indices) == (9, 40, [1, 3, 5, 7])

    def test_metadata_beside_a_file_is_refused_as_it_would_have_no_effect(self, small, video_file):
        frames, given = random_frames(9, 40, 50, 3), VideoMetadata(total_num_frames=9, fps=3)
        with pytest.raises(ValueError, match="video 1: video_metadata stands beside a file, which has its own"):
            small([frames, video_file], video_metadata=[given, given])
        (found,) = small([frames], video_metadata=[given], return_metadata=True)["video_metadata"]
        assert found.fps == 3

    def test_timestamps_are_those_of_the_frames_at_variable_rate_too(self, small, video_file, shared_dir):
        variable = shared_dir / "data/odd_videos/bars_variable_rate.mp4"  # 75 frames at 25 a second, 75 at 6.25
        first, second = small([video_file, variable], return_metadata=True)["video_metadata"]
        assert first.timestamps == pytest.approx([0.08, 0.28, 0.48, 0.68])
        assert second.frames_indices == [18, 56, 93, 131]
        assert second.timestamps == pytest.approx([0.72, 2.24, 3 + 18 / 6.25, 3 + 56 / 6.25])
        again = make_batched_metadata([np.zeros((4, 8, 8, 3))], second)
        assert again[0].frames_indices == second.frames_indices

    def test_without_return_tensors_clips_may_differ_in_shape(self, small):
        videos = [random_frames(3, 40, 50, 3), random_frames(5, 50, 40, 3)]
        values = small(videos, do_sample_frames=False, do_center_crop=False)["pixel_values"]
        assert [tuple(value.shape) for value in values] == [(3, 3, 32, 40), (5, 3, 40, 32)]
        with pytest.raises(ValueError, match=r"different shapes .*do_sample_frames=True"):
            small(videos, do_sample_frames=False, return_tensors="pt")

    def test_numpy_output(self, small):
        values = small(random_frames(4, 40, 40, 3), return_tensors="np")["pixel_values"]
        assert isinstance(values, np.ndarray)
        assert values.shape == (1, 4, 3, 32, 32)


class TestErrors:
    @pytest.mark.parametrize(
        ("videos", "message"),
        [
            ([], "empty list"),
            ([[]], "video 0: has no frames"),
            (np.zeros((0, 40, 40, 3), np.uint8), "video 0: has no frames"),
            (np.zeros((4, 0, 40, 3), np.uint8), "no pixels"),
            (np.zeros((4, 40, 40, 4), np.uint8), r"video 0: frames of shape \(40, 40, 4\), expected 3 channels"),
            (np.zeros((4, 1, 40, 40), np.uint8), r"frames of shape \(1, 40, 40\), expected 3 channels"),
            (np.zeros((40, 40), np.uint8), r"shape \(40, 40\) is no video"),
            ([Image.new("RGB", (9, 9)), np.zeros((8, 8, 3), np.uint8)], "different shapes"),
            ([np.zeros((4, 9, 9, 3)), np.zeros((2, 9, 9, 5))], r"video 1: frames of shape \(9, 9, 5\)"),
            (np.full((4, 40, 40, 3), 256), "from 256 to 256, expected 0 to 255"),
            (np.zeros((4, 40, 40, 3), bool), "torch.bool"),
            (np.full((4, 40, 40, 3), np.inf), "video 0, frame 0: holds inf"),
            ([["frame_1.png", "frame_2.png"]], "video 0: a list of str"),
            (5, "found int"),
            ([5], "video 0: int"),
        ],
    )
    def test_input_that_is_no_video_is_named(self, small, videos, message):
        with pytest.raises(ValueError, match=message):
            small(videos)

    def test_pixels_that_are_not_a_number_are_reported_with_their_frame(self, small):
        good, bad = np.zeros((12, 40, 40, 3), np.float32), np.zeros((12, 40, 40, 3), np.float32)
        bad[7, 3, 2, 1] = np.nan
        with pytest.raises(ValueError, match="video 1, frame 7: holds nan"):
            small([good, bad])

    def test_unreadable_files_are_named(self, small, shared_dir, tmp_path):
        for path in (tmp_path / "absent.mp4", shared_dir / "data/videos/audio_only.mp3"):
            with pytest.raises(VideoReadError, match=path.name):
                small([path])

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"fps": 2}, "fps=2 was given"),
            ({"nonsense": 1}, "VitaClipVideoProcessor has no argument nonsense; it takes allow_private, "),
            ({"num_frame": 16}, "has no argument num_frame; is num_frames meant"),
            ({"num_frames": "8"}, "num_frames"),
            ({"num_spatial_views": 3, "do_center_crop": False}, "do_center_crop must be True"),
        ],
    )
    def test_settings_that_do_not_fit_are_named(self, small, setting, message):
        with pytest.raises(ValueError, match=message):
            small(random_frames(4, 40, 40, 3), **setting)


class TestSavingAndLoading:
    def test_settings_survive_saving(self, tmp_path):
        processor = VitaClipVideoProcessor(
            num_frames=16, sampling="strided", frame_stride=4, num_temporal_views=4, num_spatial_views=3, size=64
        )
        processor.save_pretrained(tmp_path)
        loaded = VitaClipVideoProcessor.from_pretrained(tmp_path)
        assert loaded.to_dict() == processor.to_dict()
        assert dict(loaded.size)["shortest_edge"] == 64
        assert VitaClipVideoProcessor.from_pretrained(tmp_path, num_frames=2).num_frames == 2
        with pytest.raises(ValueError, match="num_frames"):
            VitaClipVideoProcessor.from_pretrained(tmp_path, num_frames=0)

    @pytest.mark.parametrize(
        ("setting", "message"), [({"num_frame": 2}, "is num_frames meant"), ({"fps": 2}, "fps=2 was given")]
    )
    def test_settings_that_are_misspelt_or_not_followed_are_refused_at_construction_and_load(
        self, tmp_path, setting, message
    ):
        VitaClipVideoProcessor().save_pretrained(tmp_path)
        for make in (
            VitaClipVideoProcessor,
            lambda **given: VitaClipVideoProcessor.from_pretrained(tmp_path, **given),
        ):
            with pytest.raises(ValueError, match=message):
                make(**setting)
        path = tmp_path / "video_preprocessor_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **setting}))
        with pytest.raises(ValueError, match=message):
            VitaClipVideoProcessor.from_pretrained(tmp_path)

    @pytest.mark.parametrize("size", [96, {"shortest_edge": 96}])
    def test_settings_of_a_plain_clip_checkpoint_are_taken_over(self, tmp_path, size):
        clip = CLIPImageProcessor(size=size, crop_size=80, image_mean=[0.1, 0.2, 0.3], resample=2)
        clip.save_pretrained(tmp_path)
        loaded = VitaClipVideoProcessor.from_pretrained(tmp_path)
        frames = random_frames(8, 100, 130, 3)
        expected = clip(list(frames), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels(loaded, frames)[0], expected, rtol=0, atol=1e-6)
        assert "image_processor_type" not in loaded.to_dict()

    def test_settings_as_openai_published_them_are_understood(self, tmp_path):
        (tmp_path / "preprocessor_config.json").write_text(
            '{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "resample": 3, '
            '"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, '
            '"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}'
        )
        assert VitaClipVideoProcessor.from_pretrained(tmp_path).to_dict() == VitaClipVideoProcessor().to_dict()

    def test_folder_without_settings_is_an_error(self, tmp_path):
        with pytest.raises(OSError, match="video processor"):
            VitaClipVideoProcessor.from_pretrained(tmp_path)


def test_transformers_pipeline_classifies_paths_and_bytes(small, video_file):
    config = VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=3,
    )  # fmt: skip
    pipeline = VideoClassificationPipeline(
        model=VideoMAEForVideoClassification(config).eval(), video_processor=small, image_processor=None
    )
    by_path = pipeline(str(video_file))
    assert [set(answer) for answer in by_path] == [{"score", "label"}] * 3
    assert pipeline(video_file.read_bytes()) == by_path
    assert pipeline([str(video_file)] * 2) == [by_path] * 2
