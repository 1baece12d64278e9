"""The short form of `videos.py`: one or two videos of each container, compared with PyAV."""

from collections import Counter

import pytest

pytest.importorskip("av", reason="PyAV writes the videos and decodes them again")

from hostile import videos


def test_generated_videos_are_exact_or_refused_and_those_promised_are_exact(tmp_path):
    kinds = [
        videos.Kind("mp4", "libx264", 2, videos.Fraction(25), (50, 34), 12, 30, rotation=90),
        videos.Kind("mp4", "libx265", 3, videos.Fraction(30000, 1001), (64, 64), 8, 30, is_variable=True),
        videos.Kind("mp4", "libx264", 2, videos.Fraction(24), (64, 48), 8, 30, cut_after=5),
        videos.Kind("mov", "mpeg4", 2, videos.Fraction(15), (33, 21), 12, 30, rotation=270),
        videos.Kind("mkv", "libx264", 3, videos.Fraction(60), (66, 50), 12, 30, is_piped=True),
        videos.Kind("mkv", "libvpx-vp9", 0, videos.Fraction(25), (127, 95), 12, 20, is_variable=True),
        videos.Kind("webm", "libvpx", 0, videos.Fraction(25), (64, 48), 12, 30, is_piped=True),
        videos.Kind("avi", "mpeg4", 2, videos.Fraction(25), (64, 48), 12, 30),
        videos.Kind("avi", "libx264", 2, videos.Fraction(25), (64, 48), 12, 30, is_piped=True),
        videos.Kind("avi", "mjpeg", 0, videos.Fraction(10), (48, 64), 1, 10),
        videos.Kind("ts", "libx264", 2, videos.Fraction(25), (64, 48), 12, 30),
        videos.Kind("mpg", "mpeg2video", 2, videos.Fraction(25), (64, 64), 12, 30),
        videos.Kind("flv", "libx264", 0, videos.Fraction(25), (64, 48), 12, 30),
    ]
    random_of = videos.random.Random(0)
    outcomes = []
    for number, kind in enumerate(kinds):
        path = tmp_path / f"{number}.{kind.container}"
        videos.write(path, kind, random_of)
        outcomes.append(videos.compare(path, kind, random_of))
    wrong = [(str(outcome.kind), outcome.cause) for outcome in outcomes if outcome.verdict != "exact"]
    assert wrong == []


def test_same_seed_makes_the_same_kinds_and_they_cover_containers_and_codecs():
    def kinds():
        random_of = videos.random.Random(3)
        pairs = [(container, codec) for container, codecs in videos.CONTAINERS.items() for codec in codecs]
        return [videos.choose_kind(*pairs[number % len(pairs)], random_of) for number in range(200)]

    assert kinds() == kinds()
    assert Counter(kind.container for kind in kinds()).keys() == videos.CONTAINERS.keys()
    for field in ("rotation", "is_variable", "is_piped", "cut_after", "num_b_frames"):
        assert {bool(getattr(kind, field)) for kind in kinds()} == {True, False}


def test_another_frame_is_told_from_the_one_asked_for():
    kind = videos.Kind("mp4", "libx264", 0, videos.Fraction(25), (66, 50), 12, 30)
    random_of = videos.random.Random(0)
    pictures = [videos.picture(number, kind.size, random_of) for number in (7, 8)]
    assert videos.is_same_frame(pictures[0], pictures[0], kind)
    kind.size = (33, 21)  # compared by brightness
    assert not videos.is_same_frame(pictures[0], pictures[1], kind)
