"""Subtitles: one cue for each window, safe in a WebVTT file."""

from vita_clip_hf.app.subtitles import escape_cue, subtitles
from vita_clip_hf.app.timeline import Window


def test_a_cue_lasts_until_the_next_window_starts():
    windows = [Window(start, start + 2, [{"label": "jump", "score": 0.876}]) for start in (0, 1, 2)]
    assert subtitles(windows) == [
        {"text": "jump (88%)", "timestamp": [0, 0.999]},
        {"text": "jump (88%)", "timestamp": [1, 1.999]},
        {"text": "jump (88%)", "timestamp": [2, 3.999]},
    ]


def test_a_label_cannot_end_a_cue_or_start_another():
    assert escape_cue("a <b>\n\n00:00 --> 00:09\nfoul & fair") == "a &lt;b&gt; 00:00 --&gt; 00:09 foul &amp; fair"
