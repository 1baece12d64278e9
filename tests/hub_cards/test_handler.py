"""`handler.py` of a published folder: the Hub's requests in, the Hub's answers out, nothing without a limit."""

import base64
import dataclasses
import importlib.util
import json
import shutil
import sys

import pytest
from huggingface_hub import VideoClassificationInput, VideoClassificationOutputElement, VideoClassificationParameters
from safetensors.torch import load_file, save_file
from served_checkpoint import (
    CARDS,
    HIDE_PACKAGE,
    OPTIONAL_PARAMETERS,
    REQUIRED_OUTPUT,
    assert_is_hub_input,
    assert_is_hub_output,
    save_served_checkpoint,
)
from toy_checkpoint import run_without_package, write_rising_video
from toy_vita_clip import LABELS
from transformers import pipeline

CANDIDATES = ["juggling", "chess", "a walk"]


def load_handler():
    """The file as Inference Endpoints import it: by its path, under the name `handler`."""
    spec = importlib.util.spec_from_file_location("handler", CARDS / "handler.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    return module


handler_file = load_handler()
RequestError = handler_file.RequestError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_served_checkpoint(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4").read_bytes()


@pytest.fixture(scope="module")
def handler(folder):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DOWNLOAD_BYTES", "DOWNLOAD_SECONDS", "MAX_CLIP_BYTES"):
            patch.setenv(f"VITA_CLIP_{name}", "1")  # it sets them, and they are put back
            patch.delenv(f"VITA_CLIP_{name}")
        yield handler_file.EndpointHandler(str(folder))


def base64_of(video: bytes) -> str:
    return base64.b64encode(video).decode()


def near(answer):
    return [(entry["label"], pytest.approx(entry["score"], abs=1e-5)) for entry in answer]


def pairs(answer):
    return [(entry["label"], entry["score"]) for entry in answer]


def refusal(handler, inputs="AAAA", status=400, **parameters) -> str:
    with pytest.raises(RequestError) as error:
        handler({"inputs": inputs, "parameters": parameters})
    assert error.value.status == status
    assert error.value.body == {"error": str(error.value), "status": status}
    return str(error.value)


def test_the_form_is_that_of_the_hubs_client_which_is_generated_from_the_schemas():
    def forms(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}

    assert forms(VideoClassificationOutputElement).keys() == REQUIRED_OUTPUT.keys()
    assert forms(VideoClassificationInput).keys() == {"inputs", "parameters"}
    assert forms(VideoClassificationParameters).keys() == OPTIONAL_PARAMETERS.keys() <= handler_file.PARAMETERS.keys()


class TestAnswers:
    def test_they_are_the_pipelines_in_the_hubs_form(self, handler, folder, video):
        classify = pipeline("zero-shot-video-classification", model=str(folder), device=-1)
        request = {
            "inputs": base64_of(video),
            "parameters": {
                "candidate_labels": CANDIDATES,
                "hypothesis_template": "a film of {}.",
                "top_k": 2,
                "num_frames": 3,
                "frame_sampling_rate": 2,
                "function_to_apply": "softmax",
            },
        }
        assert_is_hub_input(request)
        answer = handler(request)
        assert_is_hub_output(answer)
        expected = classify(video, **request["parameters"])
        assert pairs(answer) == near(expected)
        assert len(answer) == 2
        assert pairs(answer) != near(classify(video, **{**request["parameters"], "frame_sampling_rate": 9}))
        json.dumps(answer, allow_nan=False)

    def test_without_parameters_it_names_the_models_own_classes(self, handler, video):
        answer = handler({"inputs": base64_of(video)})
        assert_is_hub_output(answer)
        assert {entry["label"] for entry in answer} == set(LABELS)
        assert sum(entry["score"] for entry in answer) == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize(
        "form",
        [
            lambda text: {"base64": text},
            lambda text: f"data:video/mp4;base64,{text}",
            lambda text: {"base64": f"data:video/mp4;codecs=avc1;base64,{text}"},
            lambda text: "\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
            lambda text: base64.b64decode(text),
        ],
    )
    def test_every_form_of_a_video_gives_the_same_answer(self, handler, video, form):
        text = base64_of(video)
        assert pairs(handler({"inputs": form(text)})) == near(handler({"inputs": text}))

    def test_logits_and_their_sigmoid_can_be_asked_for(self, handler, video):
        for function in ("none", "sigmoid"):
            answer = handler({"inputs": base64_of(video), "parameters": {"function_to_apply": function}})
            assert_is_hub_output(answer)
            assert sum(entry["score"] for entry in answer) != pytest.approx(1, abs=1e-3)

    def test_windows_are_entries_that_say_when(self, handler, video):
        parameters = {"window_seconds": 1.0, "stride_seconds": 0.5, "top_k": 1}
        answer = handler({"inputs": base64_of(video), "parameters": parameters})
        assert_is_hub_output(answer)
        assert [(entry["start"], entry["end"]) for entry in answer] == [(0, 1), (0.5, 1.5), (1, 2)]

    def test_a_process_without_the_package_answers_the_same(self, handler, folder, video, tmp_path):
        code = HIDE_PACKAGE + (
            "import json\nsys.path.insert(0, sys.argv[1])\nfrom handler import EndpointHandler\n"
            "answer = EndpointHandler(sys.argv[1])({'inputs': open(sys.argv[2], 'rb').read()})\n"
            "print(json.dumps(answer))"
        )
        (tmp_path / "video.mp4").write_bytes(video)
        printed = run_without_package(code, folder, tmp_path / "video.mp4", home=tmp_path / "home")
        assert pairs(json.loads(printed.splitlines()[-1])) == near(handler({"inputs": video}))


class TestRefusals:
    @pytest.mark.parametrize(
        "inputs", ["/etc/passwd", "video.mp4", "file:///etc/passwd", "../video.mp4", "ftp://host/video.mp4", "a,b"]
    )
    def test_no_file_of_the_server_is_opened(self, handler, inputs):
        for form in (inputs, {"base64": inputs}, {"url": inputs}):
            refusal(handler, form)

    def test_a_path_that_exists_is_not_opened_either(self, handler, video, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "abcd").write_bytes(video)  # a path that is base64 too
        assert "not a video" in refusal(handler, "abcd")
        assert "no http or https URL" in refusal(handler, {"url": "abcd"})

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:1/a.mp4", "http://localhost:1/", "http://169.254.169.254/latest", "http://[::1]/"]
    )
    @pytest.mark.parametrize("parameters", [{}, {"window_seconds": 1}])
    def test_no_private_address_is_asked(self, handler, url, parameters):
        assert "is not a public address" in refusal(handler, url, **parameters)

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ("", "0 bytes"),
            ("AAAA", "not a video"),
            ("not base64!", "neither an http(s) URL nor base64"),
            (3, "found int"),
            (None, "found NoneType"),
            ([], "found list"),
            ({}, 'expected "url" or "base64"'),
            ({"url": "http://a", "base64": "AAAA"}, 'expected "url" or "base64"'),
            ({"path": "/etc/passwd"}, 'expected "url" or "base64"'),
            ({"url": 3}, "found int"),
            ("http://" + "a" * 9000, "up to 8192 letters"),
        ],
    )
    def test_inputs_that_are_no_video_say_why(self, handler, inputs, words):
        assert words in refusal(handler, inputs)

    @pytest.mark.parametrize("data", [None, [], "text", {}, {"input": "AAAA"}, {"inputs": "AAAA", "more": 1}])
    def test_requests_of_another_form_are_refused(self, handler, data):
        with pytest.raises(RequestError, match="expected"):
            handler(data)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *[(name, value) for name in ("top_k", "num_frames", "frame_sampling_rate") for value in (0, -1, 1.5, "3")],
            *[(name, value) for name in ("top_k", "num_frames", "frame_sampling_rate") for value in (True, [], 10**9)],
            *[(name, value) for name in ("window_seconds", "stride_seconds") for value in (0, -1, "1", True, 1e300)],
            ("window_seconds", float("nan")),
            ("function_to_apply", "tanh"),
            ("function_to_apply", ["softmax"]),
            ("candidate_labels", "a, b"),
            ("candidate_labels", []),
            ("candidate_labels", ["a", 1]),
            ("candidate_labels", ["a", ""]),
            ("candidate_labels", ["a", "x" * 201]),
            ("candidate_labels", ["a", "\ud800"]),
            ("candidate_labels", ["a", "b\0"]),
            ("candidate_labels", {"a": 1}),
            ("hypothesis_template", "a film of {}."),  # without labels
            ("videos_kwargs", {"allow_private": True}),
            ("allow_private", True),
            ("max_windows", 10**9),
        ],
    )
    def test_a_parameter_that_makes_no_sense_is_named(self, handler, video, name, value):
        assert name in refusal(handler, base64_of(video), **{name: value})

    @pytest.mark.parametrize("templates", ["no place", [], 3, ["{}"] * 999, ["x" * 300 + "{}"], [None]])
    def test_templates_that_make_no_sense_are_refused(self, handler, video, templates):
        refusal(handler, base64_of(video), candidate_labels=CANDIDATES, hypothesis_template=templates)

    def test_labels_that_repeat_are_refused(self, handler, video):
        refusal(handler, base64_of(video), candidate_labels=["a", "a"])


class TestLimits:
    def test_labels_texts_and_windows_are_counted_before_work_is_done(self, handler, video, tmp_path):
        many = [f"label {number}" for number in range(201)]
        assert "has 201 texts, more than the 200" in refusal(handler, candidate_labels=many)
        assert "hypothesis_template has 6 texts, more than the 5" in refusal(
            handler, candidate_labels=many[:200], hypothesis_template=["a {}"] * 6
        )
        long = write_rising_video(tmp_path / "long.mp4", num_frames=101).read_bytes()
        asked = {"window_seconds": 0.01, "top_k": 1}
        assert "has 101 windows of 0.04 s" in refusal(handler, base64_of(long), **asked)
        assert len(handler({"inputs": video, "parameters": asked})) == 50

    def test_a_video_of_too_many_bytes_is_413_before_it_is_decoded(self, handler):
        large = handler.limits.max_video_bytes + 1
        assert "larger than" in refusal(handler, "A" * (large * 3 // 2), status=413)
        assert "larger than" in refusal(handler, bytes(large), status=413)

    def test_the_environment_sets_other_limits(self, monkeypatch):
        monkeypatch.setenv("VITA_CLIP_MAX_LABELS", "3")
        monkeypatch.setenv("VITA_CLIP_MAX_VIDEO_BYTES", "1000")
        limits = handler_file.Limits.from_environment()
        assert (limits.max_labels, limits.max_video_bytes, limits.max_frames) == (3, 1000, 64)
        for value in ("0", "-1", "1.5", "many"):
            monkeypatch.setenv("VITA_CLIP_MAX_LABELS", value)
            with pytest.raises(ValueError, match="VITA_CLIP_MAX_LABELS"):
                handler_file.Limits.from_environment()

    def test_weights_that_give_no_numbers_are_found_at_the_start(self, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("VITA_CLIP_DOWNLOAD_BYTES", "1")
        broken = tmp_path / "broken"
        shutil.copytree(folder, broken)
        tensors = load_file(broken / "adapter_model.safetensors")
        tensors["logit_scale"] = tensors["logit_scale"] * float("nan")
        save_file(tensors, broken / "adapter_model.safetensors", {"format": "pt"})
        with pytest.raises((ValueError, OSError)):
            handler_file.EndpointHandler(str(broken))
