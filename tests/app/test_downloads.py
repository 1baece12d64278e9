"""A video from the web: from public addresses only, gone afterwards."""

import pytest
from vita_clip_hf.hub_cards.handler import RequestError
from vita_clip_hf.modeling.video_source_vita_clip import locate_video

from vita_clip_hf.app import downloads
from vita_clip_hf.app.downloads import downloaded


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/etc/passwd", "expected an http or https address"),
        ("file:///etc/passwd", "expected an http or https address"),
        ("http://127.0.0.1:1/a.mp4", "not a public address"),
        ("https://localhost/a.mp4", "not a public address"),
        ("http://169.254.169.254/latest/meta-data", "not a public address"),
        ("", "expected an http or https address"),
    ],
)
def test_what_is_no_public_address_is_refused(url, message):
    with pytest.raises(RequestError, match=message), downloaded(url):
        pass


def test_the_file_has_the_videos_bytes_and_ending_and_is_gone_afterwards(monkeypatch):
    content = b"\x1a\x45\xdf\xa3 something"
    asked = []

    def locate(url, allow_private):
        asked.append((url, allow_private))
        return locate_video(content)

    monkeypatch.setattr(downloads, "locate_video", locate)
    with downloaded(" https://host/a/clip.webm?x=1 ") as path:
        assert (path.suffix, path.read_bytes()) == (".webm", content)
    assert not path.exists()
    assert asked == [("https://host/a/clip.webm?x=1", False)]
