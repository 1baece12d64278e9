"""What the app answers: as `vita-clip predict` and the pipeline do, and one clear line for what makes no sense."""

import pytest
from app_models import OTHER_LABELS, save_two_adapters
from toy_checkpoint import write_rising_video
from toy_vita_clip import LABELS
from transformers import pipeline
from vita_clip_hf.hub_cards.handler import Limits, RequestError

from vita_clip_hf.app.adapters import Adapters
from vita_clip_hf.app.session import Question, Session, parse_labels
from vita_clip_hf.predict import load_predictor

LIMITS = Limits(max_video_bytes=200_000, max_labels=5, max_label_length=30, max_windows=10)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return save_two_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def session(places):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VITA_CLIP_DOWNLOAD_BYTES", "VITA_CLIP_DOWNLOAD_SECONDS", "VITA_CLIP_MAX_CLIP_BYTES"):
            patch.setenv(name, "1")  # so that what the session sets is taken back
        yield Session(Adapters(places), LIMITS)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4"))


def assert_same_ranking(found, wanted):
    assert [entry["label"] for entry in found] == [entry["label"] for entry in wanted]
    assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in wanted], abs=1e-5)


def test_the_whole_video_is_ranked_as_predict_ranks_it(session, places, video):
    found = session.analyse(video, Question("other", top_k=2))
    assert_same_ranking(found.ranking, load_predictor(places[1], top_k=2, device="cpu")(video))
    assert_same_ranking(session.classify(video, Question("other", top_k=2)), found.ranking)
    assert_same_ranking(session.classify(video, Question("other", top_k=2), prompts=False), found.without_prompts)


def test_labels_of_ones_own_stand_one_a_line_and_keep_their_commas(session, places, video):
    text = "  walking, slowly \n\n eating\n"
    assert parse_labels(text) == ["walking, slowly", "eating"]
    wanted = load_predictor(places[0], ["walking, slowly", "eating"], "a {} person", device="cpu")(video)
    assert_same_ranking(session.classify(video, Question("adapter", text, "a {} person")), wanted)


def test_the_timeline_has_the_windows_of_the_pipeline(session, places, video):
    found = session.timeline(video, Question("adapter", window_seconds=0.8, stride_seconds=0.4))
    classify = pipeline("zero-shot-video-classification", model=str(places[0]), device=-1)
    wanted = classify(video, window_seconds=0.8, stride_seconds=0.4, top_k=5)
    for window, other in zip(found, wanted, strict=True):
        assert (window.start, window.end) == pytest.approx((other["start"], other["end"]), abs=1e-3)
        assert_same_ranking(window.labels, other["labels"])
    assert len(session.timeline(video, Question("adapter"))) == 1  # of two seconds, as the video


def test_a_window_alone_is_answered_as_on_the_timeline(session, video):
    question = Question("other", window_seconds=0.8, stride_seconds=0.4)
    window = session.timeline(video, question)[1]
    found = session.window(video, question, window.start, window.end)
    assert_same_ranking(found.ranking, window.labels)
    assert all(0.36 <= time < 1.2 for time in found.look.times)


def test_a_look_has_frames_with_times_and_attention_of_both_tokens(session, video):
    look = session.analyse(video, Question("adapter")).look
    assert list(look.pictures) == ["Frames", "Class token", "Summary token", "All layers"]
    frames = look.pictures["Frames"]
    assert len(look.times) == len(frames) == 4
    assert all(picture.shape == frames.shape for picture in look.pictures.values())
    assert (look.pictures["Class token"] != frames).any()


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("nobody"), "There is no adapter 'nobody'"),
        (Question("adapter", "a\n" * 3), "more than once"),
        (Question("adapter", "\n".join("abcdef")), "more than the 5 that are allowed"),
        (Question("adapter", "x" * 31), "1 to 30 printable letters"),
        (Question("adapter", "a\nb", "no place"), r"one {} for the label"),
        (Question("adapter", top_k=0), "top_k must be a whole number"),
        (Question("adapter", window_seconds=-1), "window_seconds must be a number of seconds"),
        (Question("adapter", window_seconds=float("nan")), "window_seconds must be a number of seconds"),
        (Question("adapter", window_seconds=0.1), "20 windows of 0.1 s, more than the 10 allowed"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_in_one_line(session, video, question, message):
    with pytest.raises(RequestError, match=message) as caught:
        session.analyse(video, question)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello, this is text", "text.mp4: is not a video"),
        (b"", "text.mp4: is empty"),
        (b"#EXTM3U\n/etc/passwd", "text.mp4: is a playlist"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "text.mp4: "),
        (bytes(200_001), "the video is larger than 200,000 bytes"),
    ],
)
def test_a_file_that_is_no_video_is_named_without_its_folder(session, tmp_path, content, message):
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as caught:
        session.analyse(path, Question("adapter"))
    assert str(tmp_path) not in str(caught.value)


def test_no_file_and_no_address_of_this_machine_is_read_by_url(session):
    for url, message in (("file:///etc/passwd", "not opened"), ("http://127.0.0.1:9/a.mp4", "not a public address")):
        with pytest.raises(RequestError, match=message):
            session.classify(url, Question("adapter"))


def test_limits_hold_for_downloads_of_the_process(session, monkeypatch):
    import os

    session.limits.apply()
    assert os.environ["VITA_CLIP_DOWNLOAD_BYTES"] == "200000"
    monkeypatch.setenv("VITA_CLIP_MAX_WINDOWS", "7")
    limits = Limits.from_environment(max_video_bytes=9)
    assert (limits.max_windows, limits.max_video_bytes) == (7, 9)


def test_classes_of_the_adapters_are_told_apart(session, video):
    first, second = (session.classify(video, Question(name, top_k=9)) for name in ("adapter", "other"))
    assert {entry["label"] for entry in first} == set(LABELS)
    assert {entry["label"] for entry in second} == set(OTHER_LABELS)
