"""Windows as segments of a timeline, and times as people read them."""

import pytest

from vita_clip_hf.app.timeline import Window, clock, segments


def window(start, end, label, score=0.5):
    return Window(start, end, [{"label": label, "score": score}])


def test_windows_that_overlap_become_segments_in_a_row():
    found = segments([window(0, 2, "a"), window(1, 3, "b"), window(2.5, 4.5, "b")])
    assert [(piece.window.start, piece.end, piece.seconds) for piece in found] == [
        (0, 1, 1),
        (1, 2.5, 1.5),
        (2.5, 4.5, 2),
    ]


def test_the_label_of_most_windows_has_the_first_colour():
    found = segments([window(0, 1, "a"), window(1, 2, "b"), window(2, 3, "b")])
    assert [piece.color for piece in found] == [1, 0, 0]


def test_no_window_is_no_segment():
    assert segments([]) == []


def test_a_window_as_an_answer_has_the_pipelines_form():
    assert window(0.12345, 1, "a").to_dict() == {
        "start": 0.123,
        "end": 1,
        "labels": [{"label": "a", "score": 0.5}],
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (7.46, "0:07.5"), (59.96, "1:00.0"), (61, "1:01.0"), (3723, "1:02:03.0")]
)
def test_a_clock_counts_minutes_and_hours(seconds, text):
    assert clock(seconds) == text
