"""What a URL says of the medium behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Kind
    from .grammar import Grammar


def media_kind(grammar: Grammar, url: str) -> Kind | None:
    """What the end of a URL's path says it is; for a `data:` URL its media type (RFC 2397)."""
    kinds: tuple[tuple[Kind, str], ...] = (("image", "IMAGE_PATH"), ("video", "VIDEO_PATH"), ("audio", "AUDIO_PATH"))
    if url[:5].lower() == "data:":
        for kind, _ in kinds:
            if url[5:].startswith(f"{kind}/"):
                return kind
        return None
    path = url_path(url).lower()
    for kind, words in kinds:
        if path.endswith(grammar.words(words)):
            return kind
    return None


def url_path(url: str) -> str:
    """A URL's path (RFC 3986): without scheme, authority, query and fragment."""
    rest = url.partition("#")[0].partition("?")[0]
    _, separator, after = rest.partition("://")
    if not separator:
        return rest
    return "/" + after.partition("/")[2]
