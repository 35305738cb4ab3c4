"""The message of an HTML error page, as proxies in front of a relay send them."""

from __future__ import annotations

from html.parser import HTMLParser


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, list[str]] = {"h1": [], "title": [], "": []}
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "title", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        place = self._inside[-1] if self._inside else ""
        if place in self.parts:
            self.parts[place].append(data)


def page_message(page: str) -> str | None:
    """The heading, else the title, else the text; None for an empty page."""
    reader = _Page()
    reader.feed(page)
    reader.close()
    for pieces in reader.parts.values():
        message = " ".join(" ".join(pieces).split())
        if message:
            return message
    return None
