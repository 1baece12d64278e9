"""The page's pieces: texts of people are escaped, windows are buttons that say what and when."""

from html.parser import HTMLParser

from vita_clip_hf.app.page import side_by_side, timeline_bar
from vita_clip_hf.app.timeline import Window

FOUL = '"><script>alert(1)</script>'


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def ranking(label="jump"):
    return [{"label": label, "score": 0.75}, {"label": "sit", "score": 0.25}]


def test_both_rankings_show_labels_and_percentages():
    page = Tags(side_by_side(ranking(), ranking("fly"), "The whole video"))
    for words in ("The whole video", "Prompts on", "Prompts off", "jump", "fly", "75.0%", "25.0%"):
        assert words in page.text


def test_labels_are_text_wherever_they_stand():
    html = side_by_side(ranking(FOUL), ranking(), FOUL) + timeline_bar([Window(0, 1, ranking(FOUL))])
    page = Tags(html)
    assert "script" not in {tag for tag, _ in page.found}
    assert FOUL in page.text
    assert any(attributes.get("aria-label") == f"0:00.0 to 0:01.0: {FOUL}, 75%" for _, attributes in page.found)


def test_each_window_is_a_button_as_wide_as_it_is_long():
    page = Tags(timeline_bar([Window(0, 1, ranking()), Window(1, 3, ranking("fly"))]))
    buttons = [attributes for tag, attributes in page.found if tag == "button"]
    assert [(button["data-start"], button["data-end"]) for button in buttons] == [
        ("0.000", "1.000"),
        ("1.000", "3.000"),
    ]
    assert [button["style"].partition(" ")[0] for button in buttons] == ["flex:1.000", "flex:2.000"]


def test_windows_too_short_for_a_name_leave_it_to_the_legend():
    page = Tags(timeline_bar([Window(start, start + 1, ranking()) for start in range(12)]))
    assert page.text.count("jump") == 1
    assert all(attributes["data-label"] == "jump" for tag, attributes in page.found if tag == "button")


def test_a_video_without_times_says_why_it_has_no_timeline():
    assert "does not say when" in timeline_bar(None)
