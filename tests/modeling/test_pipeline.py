"""Both video pipelines: ours with labels given at the call, and transformers' own with the model's labels."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tolerance import TOLERANCE
from torch.utils.data import Dataset
from toy_checkpoint import (
    run_without_package,
    save_toy_checkpoint,
    toy_adapter_on,
    toy_processor,
    write_rising_video,
)
from toy_vita_clip import LABELS, save_toy_clip, toy_model
from transformers import CLIPModel, VideoClassificationPipeline, pipeline
from vita_clip_hf.modeling.labels_vita_clip import VIDEO_TEMPLATES, embed_labels
from vita_clip_hf.modeling.pipeline_vita_clip import window_bounds
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError, read_video

from vita_clip_hf import VitaClipForVideoClassification, VitaClipModel, VitaClipProcessor, VitaClipVideoProcessor
from vita_clip_hf import ZeroShotVideoClassificationPipeline as ZeroShotPipeline

TASK = "zero-shot-video-classification"
CANDIDATES = ["juggling", "chess", "a walk"]
TEMPLATE = "a video of a person {}."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_toy_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4")


@pytest.fixture(scope="module")
def model(folder) -> VitaClipModel:
    return VitaClipModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def processor(folder) -> VitaClipProcessor:
    return VitaClipProcessor.from_pretrained(folder)


@pytest.fixture
def classifier(model, processor) -> ZeroShotPipeline:
    return ZeroShotPipeline(model=model, processor=processor)


def scores_of(result) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in result}


def near(expected):
    return pytest.approx(expected, abs=TOLERANCE[torch.float32])


def close_to(result, expected):
    """The same labels in the same order, with the same scores but for rounding."""
    found, expected = scores_of(result), scores_of(expected)
    return list(found) == list(expected) and found == near(expected)


def all_close_to(results, expected):
    return len(results) == len(expected) and all(map(close_to, results, expected))


class TestResults:
    def test_scores_are_the_models_own_for_a_template_around_the_labels(self, classifier, model, processor, video):
        texts = [f"a video of a person {label}." for label in CANDIDATES]
        inputs = processor(text=texts, videos=str(video), return_tensors="pt", padding=True)
        with torch.no_grad():
            expected = model(**inputs).logits_per_video[0].softmax(-1)
        result = classifier(video, candidate_labels=CANDIDATES, hypothesis_template=TEMPLATE)
        assert scores_of(result) == near(dict(zip(CANDIDATES, expected.tolist(), strict=True)))

    def test_the_templates_are_by_default_those_of_zero_shot_evaluation(self, classifier, model, processor, video):
        embeds = embed_labels(model, processor.tokenizer, CANDIDATES)
        with torch.no_grad():
            inputs = processor(videos=str(video), return_tensors="pt")
            expected = model(**inputs, text_embeds=embeds).logits_per_video[0].softmax(-1)
        result = classifier(video, candidate_labels=CANDIDATES)
        assert scores_of(result) == near(dict(zip(CANDIDATES, expected.tolist(), strict=True)))
        explicit = classifier(video, candidate_labels=CANDIDATES, hypothesis_template=list(VIDEO_TEMPLATES))
        assert close_to(result, explicit)

    def test_result_is_in_the_hubs_schema_best_first(self, classifier, video):
        result = classifier(str(video), candidate_labels=CANDIDATES)
        assert [set(entry) for entry in result] == [{"label", "score"}] * 3
        assert [type(entry["score"]) for entry in result] == [float] * 3
        scores = [entry["score"] for entry in result]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)
        assert json.loads(json.dumps(result)) == result

    def test_without_candidates_the_models_own_classes_and_contexts_are_used(self, classifier, model, video):
        pixel_values = classifier.processor(videos=str(video), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            expected = model(pixel_values).logits_per_video[0].softmax(-1)
        result = classifier(video)
        assert scores_of(result) == near(dict(zip(LABELS, expected.tolist(), strict=True)))

    def test_several_templates_are_averaged(self, classifier, model, processor, video):
        templates = [TEMPLATE, "{}"]
        embeds = embed_labels(model, processor.tokenizer, CANDIDATES, templates)
        inputs = processor(videos=str(video), return_tensors="pt")
        with torch.no_grad():
            expected = model(**inputs, text_embeds=embeds).logits_per_video[0].softmax(-1)
        result = classifier(video, candidate_labels=CANDIDATES, hypothesis_template=templates)
        assert scores_of(result) == near(dict(zip(CANDIDATES, expected.tolist(), strict=True)))

    def test_top_k_cuts_the_list(self, classifier, video):
        everything = classifier(video, candidate_labels=CANDIDATES)
        assert close_to(classifier(video, candidate_labels=CANDIDATES, top_k=2), everything[:2])
        assert close_to(classifier(video, candidate_labels=CANDIDATES, top_k=9), everything)

    def test_options_given_at_construction_are_defaults_of_every_call(self, model, processor, video):
        classifier = ZeroShotPipeline(model=model, processor=processor, candidate_labels=CANDIDATES, top_k=1)
        assert len(classifier(video)) == 1
        assert len(classifier(video, top_k=2)) == 2

    def test_several_views_are_averaged_by_the_model(self, classifier, model, video):
        settings = {"num_temporal_views": 3, "sampling": "strided", "frame_stride": 2}
        pixel_values = classifier.processor(videos=str(video), return_tensors="pt", videos_kwargs=settings)
        with torch.no_grad():
            expected = model(**pixel_values).logits_per_video[0].softmax(-1)
        result = classifier(video, videos_kwargs=settings)
        assert scores_of(result) == near(dict(zip(LABELS, expected.tolist(), strict=True)))

    def test_frames_are_set_by_transformers_names_too(self, classifier, video):
        settings = {"num_frames": 3, "sampling": "strided", "frame_stride": 5}
        expected = classifier(video, videos_kwargs=settings)
        assert close_to(classifier(video, num_frames=3, frame_sampling_rate=5), expected)
        assert not close_to(classifier(video), expected)
        made = ZeroShotPipeline(
            model=classifier.model, processor=classifier.processor, num_frames=3, videos_kwargs={"sampling": "strided"}
        )
        assert close_to(made(video, frame_sampling_rate=5), expected)

    def test_the_processors_own_sampling_and_views_are_those_of_whole_videos_and_windows(self, model, video):
        settings = {"sampling": "strided", "frame_stride": 5, "num_temporal_views": 2, "num_spatial_views": 3}
        own, plain = toy_processor(), toy_processor()
        for name, value in settings.items():
            setattr(own.video_processor, name, value)
        own, plain = (ZeroShotPipeline(model=model, processor=processor) for processor in (own, plain))
        assert close_to(own(video), plain(video, videos_kwargs=settings))
        assert not close_to(own(video), plain(video))
        windows, expected = own(video, window_seconds=1), plain(video, window_seconds=1, videos_kwargs=settings)
        assert all_close_to([entry["labels"] for entry in windows], [entry["labels"] for entry in expected])

    def test_the_classification_model_gives_the_same(self, classifier, folder, processor, video):
        other = ZeroShotPipeline(model=VitaClipForVideoClassification.from_pretrained(folder), processor=processor)
        assert close_to(other(video, candidate_labels=CANDIDATES), classifier(video, candidate_labels=CANDIDATES))


class TestInputs:
    def test_every_form_of_a_video_gives_the_same(self, classifier, video):
        frames, _ = read_video(video)
        array = frames.permute(0, 2, 3, 1).numpy()
        forms = [
            str(video),
            video.read_bytes(),
            io.BytesIO(video.read_bytes()),
            frames,
            array,
            list(array),
            [Image.fromarray(frame) for frame in array],
        ]
        expected = classifier(video, candidate_labels=CANDIDATES)
        for form in forms:
            assert close_to(classifier(form, candidate_labels=CANDIDATES), expected)

    @pytest.mark.parametrize("batch_size", [1, 2, 4])
    def test_a_list_gives_a_list_for_any_batch_size(self, classifier, video, batch_size):
        clip = np.random.default_rng(0).integers(0, 256, (6, 32, 40, 3), dtype=np.uint8)
        expected = [classifier(source, candidate_labels=CANDIDATES) for source in (video, clip)]
        results = classifier([video, clip, video], candidate_labels=CANDIDATES, batch_size=batch_size)
        assert len(results) == 3
        for result, single in zip(results, [*expected, expected[0]], strict=True):
            assert close_to(result, single)

    def test_a_list_of_one_gives_a_list_of_one(self, classifier, video):
        assert all_close_to(classifier([video]), [classifier(video)])

    def test_an_image_is_a_clip_of_one_frame_even_in_a_batch_with_videos(self, classifier, video):
        image = Image.new("RGB", (40, 40), "red")
        results = classifier([video, image], batch_size=2)
        assert close_to(results[0], classifier(video))
        assert close_to(results[1], classifier(image))

    def test_an_array_of_five_dimensions_is_a_batch(self, classifier):
        clips = np.random.default_rng(0).integers(0, 256, (2, 6, 20, 20, 3), dtype=np.uint8)
        assert all_close_to(classifier(clips), [classifier(clip) for clip in clips])

    def test_data_sets_and_generators_are_streamed(self, classifier, video):
        class Videos(Dataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return [str(video), str(video)][index]

        expected = classifier(video, top_k=1)
        assert all_close_to([*classifier(Videos(), top_k=1)], [expected, expected])
        assert all_close_to([*classifier((str(video) for _ in range(2)), top_k=1)], [expected, expected])


class TestText:
    @pytest.fixture
    def encoded(self, classifier, monkeypatch) -> list[int]:
        """Grows by the number of texts at each run of the text encoder."""
        sizes: list[int] = []
        encode = VitaClipModel.get_text_features

        def counting(model, input_ids, *args, **kwargs):
            sizes.append(len(input_ids))
            return encode(model, input_ids, *args, **kwargs)

        monkeypatch.setattr(VitaClipModel, "get_text_features", counting)
        return sizes

    def test_labels_of_a_call_are_encoded_once_for_all_of_its_videos(self, classifier, video, encoded):
        classifier([video, video, video], candidate_labels=CANDIDATES, hypothesis_template=TEMPLATE, batch_size=2)
        assert encoded == [3]
        classifier(video, candidate_labels=CANDIDATES[:2])
        assert encoded == [3, 2 * len(VIDEO_TEMPLATES)]

    def test_labels_of_the_constructor_are_encoded_once_for_all_calls(self, model, processor, video, encoded):
        options = {"candidate_labels": CANDIDATES, "hypothesis_template": TEMPLATE}
        classifier = ZeroShotPipeline(model=model, processor=processor, **options)
        for _ in range(2):
            classifier([video, video], batch_size=2)
        assert encoded == [3]
        classifier(video, candidate_labels=CANDIDATES[:2], hypothesis_template=TEMPLATE)
        classifier(video, **options)
        assert encoded == [3, 2]
        classifier(video, hypothesis_template="{}")
        assert encoded == [3, 2, 3]

    def test_labels_of_a_call_follow_the_weights(self, processor, video, tmp_path):
        classifier = ZeroShotPipeline(model=toy_adapter_on(save_toy_clip(tmp_path)), processor=processor)
        before = classifier(video, candidate_labels=CANDIDATES)
        with torch.no_grad():
            classifier.model.text_projection.weight.mul_(torch.randn(classifier.model.text_projection.weight.shape))
        assert not close_to(classifier(video, candidate_labels=CANDIDATES), before)

    def test_labels_of_the_constructor_are_held_until_they_are_held_anew(self, processor, video, tmp_path):
        model = toy_adapter_on(save_toy_clip(tmp_path))
        classifier = ZeroShotPipeline(model=model, processor=processor, candidate_labels=CANDIDATES)
        before = classifier(video)
        with torch.no_grad():
            model.text_projection.weight.mul_(torch.randn(model.text_projection.weight.shape))
        assert close_to(classifier(video), before)  # documented
        classifier.hold_labels()
        assert not close_to(classifier(video), before)
        assert close_to(classifier(video), classifier(video, candidate_labels=CANDIDATES))

    def test_own_classes_are_held_by_the_model_and_dropped_by_its_rules(self, processor, video, tmp_path):
        model, encodings = toy_adapter_on(save_toy_clip(tmp_path)), []
        model.text_model.register_forward_hook(lambda *_: encodings.append(1))
        classifier = ZeroShotPipeline(model=model, processor=processor)
        assert encodings == []  # at the first call that asks for them
        before = classifier([video, video])
        classifier(video)
        assert len(encodings) == 1
        weights = {name: weight * 1.5 + 0.1 for name, weight in model.state_dict().items() if "contexts" in name}
        model.load_state_dict(weights, strict=False)
        after = classifier(video)
        assert len(encodings) == 2
        assert not close_to(after, before[0])


class TestWindows:
    @pytest.mark.parametrize(
        ("duration", "window", "stride", "expected"),
        [
            (4.0, 1.0, 1.0, [(0, 1), (1, 2), (2, 3), (3, 4)]),
            (3.6, 1.0, 1.0, [(0, 1), (1, 2), (2, 3), (2.6, 3.6)]),
            (2.4, 1.0, 0.5, [(0, 1), (0.5, 1.5), (1, 2), (1.4, 2.4)]),
            (2.4, 1.0, 2.0, [(0, 1), (1.4, 2.4)]),
            (0.8, 1.0, 1.0, [(0, 0.8)]),
            (1.0, 1.0, 1.0, [(0, 1)]),
            (1.0004, 1.0, 1.0, [(0, 1.0004)]),
            (0.4, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4)]),
            (9.0, 3.0, 100.0, [(0, 3), (6, 9)]),
            (0.002, 0.0005, 0.0005, [(0, 0.0005), (0.0005, 0.001), (0.001, 0.0015), (0.0015, 0.002)]),
        ],
    )
    def test_windows_have_one_length_and_end_with_the_video(self, duration, window, stride, expected):
        found = window_bounds(duration, window, stride)
        assert [pytest.approx(bounds) for bounds in found] == expected

    def test_each_window_is_classified_as_the_clip_it_is(self, classifier, video):
        frames, _ = read_video(video)  # 2 seconds
        result = classifier(video, candidate_labels=CANDIDATES, window_seconds=0.8)
        assert [(entry["start"], entry["end"]) for entry in result] == [(0.0, 0.8), (0.8, 1.6), (1.2, 2.0)]
        for entry, first in zip(result, (0, 20, 30), strict=True):
            assert close_to(entry["labels"], classifier(frames[first : first + 20], candidate_labels=CANDIDATES))

    def test_windows_of_files_and_of_frames_in_memory_are_the_same(self, classifier, video):
        frames, _ = read_video(video)
        pictures = [Image.fromarray(frame) for frame in frames.permute(0, 2, 3, 1).numpy()]
        expected = classifier(video, window_seconds=1, stride_seconds=0.5)
        for clip in (frames, pictures):
            result = classifier(clip, window_seconds=1, stride_seconds=0.5, fps=25)
            assert [(entry["start"], entry["end"]) for entry in result] == [
                (entry["start"], entry["end"]) for entry in expected
            ]
            assert all_close_to([entry["labels"] for entry in result], [entry["labels"] for entry in expected])

    def test_views_of_a_window_are_those_of_its_frames(self, classifier, video):
        settings = {"num_temporal_views": 2, "num_spatial_views": 3}
        frames, _ = read_video(video)
        result = classifier(video, window_seconds=1, videos_kwargs=settings)
        assert close_to(result[1]["labels"], classifier(frames[25:], videos_kwargs=settings))

    def test_windows_of_several_videos_share_batches_and_stay_apart(self, classifier, video):
        expected = classifier(video, window_seconds=0.8)
        results = classifier([video, video], window_seconds=0.8, batch_size=4)
        for result in results:
            assert [entry["start"] for entry in result] == [entry["start"] for entry in expected]
            assert all(close_to(a["labels"], b["labels"]) for a, b in zip(result, expected, strict=True))

    def test_a_window_holds_the_frames_that_are_on_the_screen_in_it(self, classifier, video):
        frames, _ = read_video(video)  # 25 a second
        result = classifier(video, window_seconds=1, stride_seconds=0.5)
        assert [(entry["start"], entry["end"]) for entry in result] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
        assert close_to(result[1]["labels"], classifier(frames[12:38]))  # frame 12 is shown from 0.48 to 0.52 s

    def test_windows_at_variable_frame_rate_follow_each_frames_own_time(self, classifier, shared_dir):
        path = shared_dir / "data/odd_videos/bars_variable_rate.mp4"  # 75 frames at 25 a second, 75 at 6.25
        frames, _ = read_video(path)
        result = classifier(path, window_seconds=2)
        spans = [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 10.0), (10.0, 12.0), (12.0, 14.0), (13.0, 15.0)]
        assert [(entry["start"], entry["end"]) for entry in result] == spans
        assert close_to(result[0]["labels"], classifier(frames[:50]))
        assert close_to(result[2]["labels"], classifier(frames[81:94]))
        assert not close_to(result[2]["labels"], classifier(frames[40:60]))  # by the mean rate, 10 a second

    def test_a_rate_that_is_given_stands_in_place_of_a_files_own_times(self, classifier, video):
        frames, _ = read_video(video)
        result = classifier(video, window_seconds=2, fps=10)
        assert [(entry["start"], entry["end"]) for entry in result] == [(0.0, 2.0), (2.0, 4.0), (3.0, 5.0)]
        assert close_to(result[2]["labels"], classifier(frames[30:]))

    def test_windows_shorter_than_a_frame_are_as_long_as_one(self, classifier):
        frames = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
        result = classifier(frames, window_seconds=0.001, fps=10)
        assert [(entry["start"], entry["end"]) for entry in result] == [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4)]
        assert close_to(result[2]["labels"], classifier(frames[2:3]))

    def test_windows_of_a_processor_that_samples_no_frames_are_all_of_theirs(self, classifier, video):
        frames, _ = read_video(video)
        result = classifier(video, window_seconds=1, videos_kwargs={"do_sample_frames": False})
        assert close_to(result[1]["labels"], classifier(frames[25:], videos_kwargs={"do_sample_frames": False}))

    def test_averaged_windows_give_the_mean_score(self, classifier, video):
        windows = [scores_of(entry["labels"]) for entry in classifier(video, window_seconds=0.5)]
        mean = {label: sum(window[label] for window in windows) / len(windows) for label in LABELS}
        result = classifier(video, window_seconds=0.5, average_windows=True)
        assert scores_of(result) == near(mean)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"candidate_labels": []}, "list of labels is empty"),
            ({"candidate_labels": ["a", " "]}, "non-empty names; found ' ' at position 1"),
            ({"candidate_labels": ["a", "b", "a"]}, "distinct; found 'a' more than once"),
            ({"candidate_labels": "a, b"}, "must be a list of names, found the text 'a, b'"),
            ({"candidate_labels": ["x" * 80]}, "takes 40 tokens, and .* makes 9[0-9]"),
            ({"candidate_labels": ["a"], "hypothesis_template": "a video"}, "one {} for the label; found 'a video'"),
            ({"candidate_labels": ["a"], "hypothesis_template": ["{}", "{} {}"]}, "found '{} {}'"),
            ({"candidate_labels": ["a"], "hypothesis_template": []}, "There is no template"),
            ({"hypothesis_template": "{}"}, "hypothesis_template needs candidate_labels"),
            ({"top_k": 0}, "top_k must be at least 1, found 0"),
            ({"window_seconds": 0}, "window_seconds must be more than 0, found 0"),
            ({"stride_seconds": 1}, "stride_seconds=1 needs window_seconds"),
            ({"fps": 5}, "fps=5 needs window_seconds"),
            ({"window_seconds": "2"}, "window_seconds must be more than 0, found '2'"),
            ({"window_seconds": float("nan")}, "window_seconds must be more than 0, found nan"),
            ({"top_k": 1.5}, "top_k must be at least 1, found 1.5"),
            ({"videos_kwargs": {"fps": 2}}, "fps=2 was given"),
            ({"videos_kwargs": {"fps": 2}, "window_seconds": 1}, "fps=2 was given"),
            ({"videos_kwargs": {"num_frame": 2}, "window_seconds": 1}, "is num_frames meant"),
            ({"videos_kwargs": {"num_frames": 2}, "num_frames": 3}, "videos_kwargs has num_frames=2, .* stands 3"),
            ({"frame_sampling_rate": 0}, "frame_stride must be an integer of at least 1, found 0"),
            ({"videos_kwargs": {"num_frames": 0}}, "num_frames must be an integer of at least 1, found 0"),
        ],
    )
    def test_bad_options_are_named(self, classifier, video, options, message):
        with pytest.raises(ValueError, match=message):
            classifier(video, **options)

    @pytest.mark.parametrize("videos", [[], None, 3, np.zeros((2, 2))])
    def test_what_is_no_video_is_refused(self, classifier, videos):
        with pytest.raises(ValueError, match="video"):
            classifier(videos)

    def test_files_that_cannot_be_read_are_named(self, classifier, tmp_path):
        with pytest.raises(VideoReadError, match=r"absent\.mp4: no such file"):
            classifier(tmp_path / "absent.mp4")
        with pytest.raises(VideoReadError, match=r"absent\.mp4: no such file"):
            classifier(tmp_path / "absent.mp4", window_seconds=1)

    def test_frames_in_memory_need_their_rate_for_windows(self, classifier):
        with pytest.raises(ValueError, match="give fps="):
            classifier(np.zeros((8, 20, 20, 3), dtype=np.uint8), window_seconds=1)

    def test_a_model_without_classes_asks_for_labels(self, processor, video):
        classifier = ZeroShotPipeline(model=toy_model(labels=None), processor=processor)
        classifier.model.class_prompts.label_token_ids = []
        with pytest.raises(ValueError, match="The model has no classes"):
            classifier(video)

    @pytest.mark.parametrize("options", [{}, {"window_seconds": 1}, {"candidate_labels": CANDIDATES}])
    def test_scores_that_are_not_finite_are_refused_with_the_models_name(self, processor, video, tmp_path, options):
        model = toy_adapter_on(save_toy_clip(tmp_path))
        with torch.no_grad():
            model.visual_projection.weight[0, 0] = float("nan")
        with pytest.raises(ValueError, match=f"{tmp_path}.* gives scores that are not finite numbers"):
            ZeroShotPipeline(model=model, processor=processor)(video, **options)

    def test_other_models_and_a_missing_processor_are_refused(self, model, processor, tmp_path):
        with pytest.raises(ValueError, match="CLIPModel is of the type 'clip'"):
            ZeroShotPipeline(model=CLIPModel.from_pretrained(save_toy_clip(tmp_path)), processor=processor)
        with pytest.raises(ValueError, match="needs the model's processor"):
            ZeroShotPipeline(model=model)


class TestTransformers:
    def test_the_task_is_known_where_the_package_is_imported(self, folder, classifier, video):
        made = pipeline(TASK, model=str(folder))
        assert type(made) is ZeroShotPipeline
        assert close_to(made(video, candidate_labels=CANDIDATES), classifier(video, candidate_labels=CANDIDATES))

    def test_transformers_own_video_classification_gives_the_models_classes(self, folder, classifier, video):
        made = pipeline("video-classification", model=str(folder))
        assert type(made) is VideoClassificationPipeline
        assert type(made.model) is VitaClipForVideoClassification
        assert close_to(made(str(video)), classifier(video))
        assert len(made([str(video), str(video)], top_k=2)) == 2

    def test_transformers_own_pipeline_drops_the_sampling_rate_which_ours_honours(self, folder, classifier, video):
        made = pipeline("video-classification", model=str(folder))
        assert close_to(made(str(video), frame_sampling_rate=5), made(str(video)))  # as docs/publish.md says
        assert not close_to(classifier(video, frame_sampling_rate=5), classifier(video))

    def test_saved_pipelines_load_again(self, classifier, video, tmp_path):
        classifier.save_pretrained(tmp_path / "saved")
        saved = json.loads((tmp_path / "saved" / "config.json").read_text())["custom_pipelines"]
        assert saved[TASK] == {
            "impl": "pipeline_vita_clip.ZeroShotVideoClassificationPipeline",
            "pt": ["AutoModel"],
            "type": "multimodal",
        }
        assert close_to(pipeline(TASK, model=str(tmp_path / "saved"))(video), classifier(video))

    def test_a_machine_without_the_package_runs_both_pipelines_offline(self, folder, classifier, video, tmp_path):
        code = """
import json
from transformers import pipeline
folder, video, labels = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
ours = pipeline("zero-shot-video-classification", model=folder, trust_remote_code=True)
theirs = pipeline("video-classification", model=folder, trust_remote_code=True)
assert not any(name.startswith("vita_clip_hf") and module for name, module in sys.modules.items())
ours.save_pretrained("again")
again = pipeline("zero-shot-video-classification", model="again", trust_remote_code=True)
results = [ours(video, candidate_labels=labels), theirs(video), again(video, candidate_labels=labels)]
print(json.dumps(results))
"""
        printed = run_without_package(code, folder, video, json.dumps(CANDIDATES), home=tmp_path / "home")
        ours, theirs, again = json.loads(printed.splitlines()[-1])
        assert close_to(ours, classifier(video, candidate_labels=CANDIDATES))
        assert close_to(theirs, classifier(video))
        assert close_to(again, ours)


class TestServingOthers:
    """`allow_private=False`: no URL leads to this machine, however the pipeline or the processor is called."""

    URL = "http://127.0.0.1:9/video.mp4"
    REFUSED = "is not a public address"

    @pytest.mark.parametrize("window", [{}, {"window_seconds": 1.0}])
    def test_private_addresses_are_refused_at_a_call_and_by_construction(self, classifier, model, processor, window):
        with pytest.raises(VideoReadError, match=self.REFUSED):
            classifier(self.URL, allow_private=False, **window)
        for maker in (ZeroShotPipeline, lambda **given: pipeline(TASK, **given)):
            closed = maker(model=model, processor=processor, allow_private=False)
            with pytest.raises(VideoReadError, match=self.REFUSED):
                closed(self.URL, **window)
        with pytest.raises(VideoReadError, match="Connection refused"):
            classifier(self.URL, **window)

    def test_a_processor_that_refuses_makes_its_pipeline_refuse(self, model, folder):
        closed = VitaClipProcessor.from_pretrained(folder)
        closed.video_processor.allow_private = False
        for given in ({}, {"window_seconds": 1.0}):
            with pytest.raises(VideoReadError, match=self.REFUSED):
                ZeroShotPipeline(model=model, processor=closed)(self.URL, **given)
        with pytest.raises(VideoReadError, match=self.REFUSED):
            closed(videos=self.URL)

    def test_no_checkpoint_decides_it(self, processor, tmp_path):
        closed = VitaClipVideoProcessor(num_frames=4, allow_private=False)
        with pytest.raises(VideoReadError, match=self.REFUSED):
            closed(self.URL)
        closed.save_pretrained(tmp_path)
        (written,) = (path.read_text() for path in tmp_path.glob("*.json"))
        assert "allow_private" not in written
        processor.save_pretrained(tmp_path / "lying")
        path = tmp_path / "lying" / "processor_config.json"
        settings = json.loads(path.read_text())
        settings["video_processor"]["allow_private"] = True
        path.write_text(json.dumps(settings))
        kept = VitaClipVideoProcessor.from_pretrained(tmp_path / "lying", allow_private=False)
        assert kept.allow_private is False
        settings["video_processor"]["allow_private"] = False
        path.write_text(json.dumps(settings))
        assert VitaClipProcessor.from_pretrained(tmp_path / "lying").video_processor.allow_private is True

    def test_too_many_windows_are_refused(self, classifier, video):
        with pytest.raises(ValueError, match=r"has 10 windows of 0\.2 s, one every 0\.2 s, more than the 9"):
            classifier(str(video), window_seconds=0.2, max_windows=9)
        assert len(classifier(str(video), window_seconds=0.2, max_windows=10)) == 10


class TestFunctionToApply:
    def test_scores_are_softmax_sigmoid_or_the_logits_themselves(self, classifier, video):
        logits, shares, each = (
            scores_of(classifier(str(video), candidate_labels=CANDIDATES, function_to_apply=name))
            for name in ("none", "softmax", "sigmoid")
        )
        values = torch.tensor([logits[label] for label in CANDIDATES])
        assert shares == near(dict(zip(CANDIDATES, values.softmax(-1).tolist(), strict=True)))
        assert each == near(dict(zip(CANDIDATES, values.sigmoid().tolist(), strict=True)))
        windows = classifier(str(video), candidate_labels=CANDIDATES, function_to_apply="none", window_seconds=10.0)
        assert scores_of(windows[0]["labels"]) == near(logits)

    def test_another_function_is_refused_by_name(self, classifier, video):
        with pytest.raises(ValueError, match="must be one of 'softmax', 'sigmoid', 'none', found 'tanh'"):
            classifier(str(video), function_to_apply="tanh")
