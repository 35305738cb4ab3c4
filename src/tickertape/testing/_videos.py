"""What OpenAI's `GET …/videos/ID/content` gives: the result of a job, by the job's id.

https://platform.openai.com/docs/api-reference/videos/content
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from ._media import media
from ._wire import whole

if TYPE_CHECKING:
    from ..events import Kind
    from ._wire import Reply

_VARIANTS = {"thumbnail": ".webp", "spritesheet": ".jpg"}
"""Pictures of the result, by what `?variant=` asks for, and their form."""


def variant_of(url: str) -> str | None:
    """The picture that is asked for in place of the result; None where it is the result itself."""
    return next((name for name in parse_qs(urlsplit(url).query).get("variant", ()) if name in _VARIANTS), None)


def content(kind: Kind, number: int, suffix: str | None, variant: str | None) -> Reply:
    """A result by its job's id, or a picture of it."""
    if variant is not None:
        kind, number, suffix = "image", number + 1, _VARIANTS[variant]
    data, content_type = media(kind, number=number, suffix=suffix)
    return whole(200, data, content_type=content_type)


def no_content(task_id: str, status: str) -> Reply:
    message = f"Video {task_id} has no content: its status is {status}"
    return whole(404, {"error": {"message": message, "type": "invalid_request_error", "code": None}})
