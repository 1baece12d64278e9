"""The browser of these tests is there."""

import shutil


def test_chromium_is_installed():
    assert shutil.which("chromium"), "install Chromium: `apt-get install chromium`, or another that is called so"
