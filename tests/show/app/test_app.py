"""The app in a browser: what a visitor does, and what the page then shows."""

import os
import sys
from pathlib import Path

import pytest
from app_in_browser import LABELS, WAIT, close_to, expected, put, ranking, serving, visit
from PIL import Image

PHONE = {"width": 390, "height": 844}


def current_time(page) -> float:
    return page.evaluate("document.querySelector('#vc-player video').currentTime")


def choose(page, adapter: str) -> None:
    page.locator("#vc-adapter").get_by_label(adapter, exact=True).check()


def wait_for_label(page, label: str) -> None:
    """Until the answer is of other labels."""
    page.wait_for_function(
        "label => [...document.querySelectorAll('.vc-ranking:first-child .vc-label')].some(e => e.innerText == label)",
        arg=label,
        timeout=WAIT,
    )


def ask(page, adapter: str, labels: str = "") -> None:
    """Chooses adapter and labels, and waits for the answer."""
    page.evaluate("document.querySelector('.vc-answer').remove()")
    page.locator("#vc-labels textarea").fill(labels)
    page.locator("#vc-adapter").get_by_label(adapter, exact=True).check()
    page.locator("#vc-run").click()
    page.wait_for_selector(".vc-answer")
    page.wait_for_function("!document.querySelector('.generating, .translucent')")


def test_an_uploaded_video_is_ranked_as_predict_ranks_it(page, adapters, videos):
    put(page, videos["short"])
    close_to(ranking(page), expected(adapters["motions"], videos["short"]))
    assert page.locator(".vc-what").inner_text() == "The whole video"
    assert {label for label, _ in ranking(page, 1)} == set(LABELS["motions"])
    assert ranking(page, 1) != ranking(page, 0)  # the frozen CLIP, without prompts


def test_labels_of_ones_own_are_ranked_and_a_comma_stays_in_its_name(short_page, adapters, videos):
    ask(short_page, "motions", "walking, slowly\nswimming")
    wanted = expected(adapters["motions"], videos["short"], ["walking, slowly", "swimming"])
    wait_for_label(short_page, "swimming")
    close_to(ranking(short_page), wanted)


def test_a_switch_of_adapters_shows_the_others_answer_at_once(short_page, adapters, videos):
    short_page.locator("#vc-labels textarea").fill("")
    for name, label in (("looks", "a square, or a box"), ("motions", "growing")):
        choose(short_page, name)  # without the button
        wait_for_label(short_page, label)
        close_to(ranking(short_page), expected(adapters[name], videos["short"]))


def test_a_click_on_the_timeline_seeks_and_shows_that_window(long_page):
    windows = long_page.locator(".vc-window")
    assert windows.count() == 4
    long_page.wait_for_function("document.querySelector('#vc-player video').readyState >= 1")
    windows.nth(3).click()
    long_page.wait_for_function("Math.abs(document.querySelector('#vc-player video').currentTime - 6) < 0.01")
    long_page.get_by_text("From 0:06.0 to 0:08.0").wait_for()
    best = long_page.locator(".vc-window[aria-current]").get_attribute("data-label")
    assert ranking(long_page)[0][0] == best
    percent = long_page.locator(".vc-head").evaluate("e => parseFloat(e.style.left)")
    assert percent == pytest.approx(100 * 6 / 8, abs=1)


def test_predictions_are_subtitles_of_the_video(long_page):
    cues = long_page.wait_for_function(
        """() => { const track = document.querySelector('#vc-player video').textTracks[0];
        return track.mode == 'showing' && track.cues?.length == 4 && [...track.cues].map(cue => cue.text); }"""
    ).json_value()
    best = [window.get_attribute("data-label") for window in long_page.locator(".vc-window").all()]
    assert [cue.rpartition(" (")[0] for cue in cues] == best


def test_frames_have_their_times_and_attention_stands_beside_them(long_page):
    long_page.get_by_role("tab", name="Frames").click()
    captions = long_page.locator(".vc-gallery:visible").inner_text().split()
    assert len([caption for caption in captions if caption.startswith("0:0")]) == 8
    for name in ("Class token", "Summary token", "All layers"):
        long_page.get_by_role("tab", name=name).click()
        long_page.locator(".vc-gallery:visible img").nth(7).wait_for()


def test_two_people_with_different_adapters_each_get_their_own_answer(app, browser, adapters, videos):
    wanted = {name: expected(adapters[name], videos["short"]) for name in adapters}
    with visit(browser, app) as first, visit(browser, app) as second:
        for person in (first, second):
            put(person, videos["short"])
        choose(second, "looks")
        wait_for_label(second, "a circle")
        for swapped in (True, False):
            names = ("looks", "motions") if swapped else ("motions", "looks")
            for person, name in zip((first, second), names, strict=True):
                choose(person, name)  # both at once
            for person, name in zip((first, second), names, strict=True):
                wait_for_label(person, LABELS[name][0])
                close_to(ranking(person), wanted[name])


def test_a_file_that_is_no_video_is_told_in_one_line_and_the_app_goes_on(page, videos):
    page.set_input_files("#vc-player input[type=file]", str(videos["text"]))
    toast = page.get_by_test_id("toast-body").filter(has_text="it looks like text")  # the player has one of its own
    toast.wait_for()
    assert "text.mp4: is not a video" in toast.inner_text()
    assert "/" not in toast.inner_text()
    assert "No answer: text.mp4: is not a video" in page.locator("#vc-answer").inner_text()  # the toast goes away
    page.reload()
    put(page, videos["short"])
    assert len(ranking(page)) == 3


def test_an_error_takes_the_answer_before_away(page, videos):
    put(page, videos["short"])
    page.locator("#vc-labels textarea").fill("swimming\nswimming")
    page.locator("#vc-run").click()
    page.get_by_role("alert").filter(has_text="No answer: Labels must be distinct").wait_for()
    assert page.locator(".vc-ranking, .vc-window").count() == 0
    assert page.locator("#vc-answer [data-testid=status-tracker]:visible").count() == 0
    page.locator("#vc-labels textarea").fill("swimming\nrunning")
    page.locator("#vc-run").click()
    page.wait_for_selector(".vc-window")
    assert {label for label, _ in ranking(page)} == {"swimming", "running"}


def test_one_label_is_told_to_be_no_choice(page, videos):
    page.locator("#vc-labels textarea").fill("swimming, running")
    put(page, videos["short"])
    assert ranking(page) == [("swimming, running", "100.0%")]
    assert "Each line is a label." in page.locator(".vc-answer .vc-hint").inner_text()


def test_an_address_of_this_machine_is_not_fetched(page, app):
    page.get_by_text("Or a video from the web").click()
    page.get_by_label("Address of a video file").fill(f"{app}/config")
    page.get_by_role("button", name="Fetch").click()
    page.get_by_test_id("toast-body").wait_for()
    assert "not a public address" in page.get_by_test_id("toast-body").inner_text()


def test_an_example_is_one_click(page, adapters, videos):
    page.locator(".gallery-item, .gallery button").first.click()
    page.wait_for_selector(".vc-window")
    close_to(ranking(page), expected(adapters["motions"], videos["short"]))


def test_a_clip_of_the_camera_is_answered(page):
    page.get_by_label("Capture from camera").click()
    page.get_by_title("grant webcam access").click()
    page.get_by_label("start recording").click()
    page.wait_for_timeout(8000)  # a busy machine records little in that time
    page.get_by_text("Stop", exact=True).click()
    page.wait_for_selector(".vc-answer")
    assert len(ranking(page)) == 3


def test_everything_can_be_reached_and_done_by_keyboard(long_page):
    long_page.evaluate("document.querySelector('#vc-player video').currentTime = 0")
    long_page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(80):
        long_page.keyboard.press("Tab")
        name = long_page.evaluate(
            "e => e.closest('#vc-adapter, #vc-labels, #vc-run, #vc-player')?.id ?? e.className",
            long_page.evaluate_handle("document.activeElement"),
        )
        if name == "vc-window" and "vc-window" not in reached:  # the first of them
            for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
                long_page.keyboard.press(key)
            long_page.get_by_text("From 0:04.0 to 0:06.0").wait_for()
            assert current_time(long_page) == pytest.approx(4, abs=0.01)
        reached.add(name)
    assert reached >= {"vc-window", "vc-adapter", "vc-labels", "vc-run", "vc-player"}


def test_a_video_is_chosen_by_keyboard(page, videos):
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(20):  # a page that has not quite started yet does not hear the key
        page.locator("#vc-player button").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(3000)
        if chosen:
            break
    chosen[0].set_files(str(videos["short"]))
    page.wait_for_selector(".vc-window")


def test_nothing_is_wider_than_a_phone(app, browser, videos):
    with visit(browser, app, **PHONE) as phone:
        for video in (None, videos["long"]):
            if video is not None:
                put(phone, video)
            wide = phone.evaluate(
                """width => [...document.querySelectorAll('#vc-title *, .block, .vc-timeline *, .vc-answer *')]
                .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 120))""",
                PHONE["width"],
            )
            assert wide == []
            assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_axe_finds_nothing_serious(page, long_page, app, browser, videos):
    from axe_playwright_python.sync_playwright import Axe

    with visit(browser, app, **PHONE) as phone, visit(browser, app, scheme="dark") as dark:
        put(phone, videos["short"])
        put(dark, videos["long"])
        for opened in (page, long_page, phone, dark):  # empty, answered, small, dark
            found = Axe().run(opened).response["violations"]
            serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
            places = [(violation["id"], node["html"][:200]) for violation in serious for node in violation["nodes"]]
            assert places == []


def test_a_picture_of_the_page_is_drawn(browser, adapters, videos, tmp_path, request):
    """`VITA_CLIP_APP_MODEL` names an adapter that knows something, `VITA_CLIP_APP_PICTURE` the file to write."""
    target = Path(os.environ.get("VITA_CLIP_APP_PICTURE", tmp_path / "app.png"))
    model = os.environ.get("VITA_CLIP_APP_MODEL")
    if model is None:
        with visit(browser, request.getfixturevalue("app")) as page:
            draw(page, videos["long"], target)
    else:
        command = [sys.executable, "-m", "vita_clip_hf.cli", "app", "--model", model]
        with serving(command, tmp_path) as address, visit(browser, address) as page:
            draw(page, videos["long"], target)
    assert 30_000 < target.stat().st_size < 300_000


def draw(page, video: Path, target: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 1080})
    put(page, video)
    page.locator(".vc-window").nth(2).click()
    page.get_by_text("From 0:04.0 to 0:06.0").wait_for()
    page.get_by_role("tab", name="All layers").click()
    page.locator(".vc-gallery:visible img").nth(7).wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # pictures fade in
    page.screenshot(path=str(target))
    with Image.open(target) as picture:  # 256 colours: a third of the bytes
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
