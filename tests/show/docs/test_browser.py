"""The site in a browser: nothing is missing, nothing is wider than a phone, light and dark can be chosen."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

PAGES = ("", "concepts/", "first_adapter/", "troubleshooting/", "api/models/", "performance/", "architecture/")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def tab(browser, address):
    """A page at phone width that reaches nothing but the site, and notes what the site lacks or asks of others."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="light")
    page = context.new_page()
    page.missing, page.strangers = [], []

    def refuse(route) -> None:
        page.strangers.append(route.request.url)
        route.abort()

    page.route(lambda url: not url.startswith(address), refuse)
    page.on("response", lambda answer: page.missing.append(answer.url) if answer.status >= 400 else None)
    yield page
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone_lacks_nothing_and_asks_no_other_host(tab, address, path):
    tab.goto(address + path, wait_until="networkidle")
    assert tab.missing == []
    assert tab.strangers == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.locator("h1").count() == 1


def test_light_and_dark_can_be_chosen(tab, address):
    tab.goto(address, wait_until="load")
    body = tab.locator("body")
    seen = {body.get_attribute("data-md-color-scheme")}
    for _ in range(2):
        tab.locator("form[data-md-component=palette] label:visible").first.click()
        tab.wait_for_timeout(200)
        seen.add(body.get_attribute("data-md-color-scheme"))
    assert seen == {"default", "slate"}
