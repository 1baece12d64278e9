"""The documentation's site builds without a warning, its links lead somewhere, and it names what is public."""

import importlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import tomllib
from printed_code import REPOSITORY
from site_pages import Page, read_page

DOCS = REPOSITORY / "docs"
# Packages with an `__all__`, and the page that lists it.
PUBLIC = {
    "vita_clip_hf": "models",
    "vita_clip_hf.data": "data",
    "vita_clip_hf.training": "training",
    "vita_clip_hf.training.callbacks": "training",
    "vita_clip_hf.evaluation.metrics": "evaluation",
    "vita_clip_hf.models": "evaluation",
    "vita_clip_hf.hub": "hub",
    "vita_clip_hf.convert": "hub",
    "vita_clip_hf.visualize": "visualize",
}


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: read_page(path) for path in site.rglob("*.html")}


def config() -> dict:
    return tomllib.loads((DOCS / "zensical.toml").read_text(encoding="utf-8"))["project"]


def sources() -> set[str]:
    tracked = [path.relative_to(DOCS) for path in DOCS.rglob("*.md")]
    return {path.as_posix() for path in tracked if path.parts[0] not in ("site", ".cache")}


def pages_in(navigation: list | dict | str) -> list[str]:
    if isinstance(navigation, str):
        return [navigation]
    entries = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for entry in entries for page in pages_in(entry)]


def broken_links(page: Page, pages: dict[Path, Page], site: Path) -> list[str]:
    return [link for link in page.links if not leads_somewhere(link, page, pages, site)]


def leads_somewhere(link: str, page: Page, pages: dict[Path, Page], site: Path) -> bool:
    """Of a link to another site, only whether it is an address."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme in ("https", "http") and bool(parts.netloc)
    target = (page.path.parent / unquote(parts.path) if parts.path else page.path).resolve()
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.is_relative_to(site.resolve()):
        return False
    return not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in pages[target].anchors


def test_the_site_builds_without_a_warning(build):
    assert build.code == 0, build.said
    assert not re.search(r"warning|griffe:", build.said, re.IGNORECASE), build.said


def test_every_link_and_anchor_within_the_site_leads_somewhere(pages, site):
    pages = {path.resolve(): page for path, page in pages.items()}
    checked = {str(path.relative_to(site.resolve())): page for path, page in pages.items() if path.name != "404.html"}
    assert sum(len(page.links) for page in checked.values()) > 500
    found = {name: broken_links(page, pages, site) for name, page in checked.items()}
    assert {name: links for name, links in found.items() if links} == {}


def test_a_broken_link_is_noticed(tmp_path):
    links = "".join(f'<a href="{link}">x</a>' for link in ("#top", "#no", "no/"))
    (tmp_path / "index.html").write_text(f'<h1 id="top">x</h1>{links}')
    page = read_page(tmp_path / "index.html")
    assert broken_links(page, {page.path.resolve(): page}, tmp_path) == ["#no", "no/"]


def test_every_page_is_in_the_navigation():
    assert sorted(pages_in(config()["nav"])) == sorted(sources())


def test_every_page_is_there_as_markdown_and_says_so(pages, site):
    listed = (site / "llms.txt").read_text(encoding="utf-8")
    html = [path for path in pages if path.name == "index.html"]
    assert len(html) == len(sources())
    for path in html:
        markdown = path.with_name("index.md")
        assert markdown.read_text(encoding="utf-8").startswith("# "), path
        assert any(link.endswith("index.md") for link in pages[path].links), path
        assert f"{config()['site_url']}{markdown.relative_to(site).as_posix()}" in listed


@pytest.mark.parametrize("package", PUBLIC)
def test_api_pages_have_every_public_name(pages, site, package):
    module = importlib.import_module(package)
    anchors = pages[site / "api" / PUBLIC[package] / "index.html"].anchors
    names = [name for name in module.__all__ if callable(getattr(module, name))]  # constants have no docstrings
    assert len(names) > 1
    missing = {name for name in names if f"{package}.{name}" not in anchors}
    assert missing == set()


def test_api_pages_have_what_evaluation_adds(pages, site):
    anchors = pages[site / "api" / "evaluation" / "index.html"].anchors
    module = importlib.import_module("vita_clip_hf.evaluation")
    for name in module.__all__:
        if callable(getattr(module, name)):
            assert any(re.fullmatch(rf"vita_clip_hf\.(.*\.)?{name}", anchor) for anchor in anchors), name


def test_references_of_docstrings_are_links(site):
    text = (site / "api" / "models" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<a class="autorefs[^>]*href="[^"]*#vita_clip_hf.VitaClipModel"><code>', text)
    assert "[<code>" not in text


def test_the_figure_says_what_it_shows():
    root = ElementTree.parse(DOCS / "figures" / "vita_clip.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert len(root.findtext(f"{space}title")) > 10
    assert len(root.findtext(f"{space}desc")) > 200
    assert root.get("aria-labelledby").split() == [root.find(f"{space}{part}").get("id") for part in ("title", "desc")]
