"""What a built page holds: anchors and links."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path


@dataclass
class Page:
    """
    Args:
        path: of the HTML file.
        anchors: names that a link may end with.
        links: where links, pictures, styles and scripts lead, as written.
    """

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self, page: Page):
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.page.anchors.add(value or "")
            elif name in ("href", "src") and value is not None:
                self.page.links.append(value)


def read_page(path: Path) -> Page:
    """The anchors and links of a page."""
    page = Page(path)
    _Reader(page).feed(path.read_text(encoding="utf-8"))
    return page
