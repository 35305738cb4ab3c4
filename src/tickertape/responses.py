"""Reading whole responses and live streams: thin adapters around `ResponseReader`.

Responses and SDK objects are told by their attributes: no client library is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ._errors import ResponseError
from .envelope import ResponseReader, as_dict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from .events import Event
    from .grammar import Grammar
    from .task import Task


def parse_response(
    body: Any,
    status_code: int | None = None,
    *,
    choice: int | None = None,
    grammar: Grammar | None = None,
) -> Task:
    """The task of a whole response.

    `body` is a dict, JSON text, SSE text or bytes, bare content, an SDK object,
    or an HTTP response that was read; a completion, a stream, a poll body, an
    acknowledgement or, with its HTTP `status_code`, an error. `choice` reads one
    choice index only; by default all choices are one message.

    Raises `ResponseError` for anything that is no response.
    """
    if not isinstance(body, str | bytes | bytearray | memoryview | dict):
        if hasattr(body, "status_code") and hasattr(body, "content"):
            status_code = body.status_code if status_code is None else status_code
            body = body.content
        else:
            body = as_dict(body)
    reader = ResponseReader(status_code=status_code, choice=choice, grammar=grammar)
    if isinstance(body, dict):
        reader._object(body)
    elif isinstance(body, str):
        reader._text(body, body=True)
    else:
        reader.feed(body)
    reader.close()
    return reader.task


def iter_events(stream: Any, *, choice: int | None = None, grammar: Grammar | None = None) -> Iterator[Event]:
    """The events of a stream, as they become certain.

    `stream` is an OpenAI SDK stream, an httpx, httpx2 or requests response, or
    any iterable of bytes (of the body), of str (content deltas, or SSE text or
    lines) or of chunks (dicts or SDK objects). It is not closed.

    Raises `ResponseError` for anything else.
    """
    reader = ResponseReader(status_code=_status_code(stream), choice=choice, grammar=grammar)
    for piece in _pieces(stream):
        yield from reader.feed(piece)
    yield from reader.close()


async def aiter_events(
    stream: Any, *, choice: int | None = None, grammar: Grammar | None = None
) -> AsyncIterator[Event]:
    """`iter_events` for asynchronous streams: an AsyncOpenAI stream, an httpx or
    httpx2 response, an aiohttp response or its `content`, any async iterable."""
    reader = ResponseReader(status_code=_status_code(stream), choice=choice, grammar=grammar)
    async for piece in _apieces(stream):
        for event in reader.feed(piece):
            yield event
    for event in reader.close():
        yield event


def _pieces(stream: Any) -> Iterable[Any]:
    inner = getattr(stream, "stream", None)  # of an httpx response: it has both kinds of methods
    if hasattr(stream, "aiter_bytes") and hasattr(inner, "__aiter__") and not hasattr(inner, "__iter__"):
        raise ResponseError(f"{type(stream).__name__} is asynchronous: use `async for … in aiter_events(stream)`")
    if hasattr(stream, "iter_bytes"):  # httpx, httpx2, the SDK's raw responses
        return cast("Iterable[Any]", stream.iter_bytes())
    if hasattr(stream, "iter_content"):  # requests; None: as they arrive
        return cast("Iterable[Any]", stream.iter_content(None))
    if isinstance(stream, str | bytes | bytearray | dict):
        return [stream]
    if hasattr(stream, "__iter__"):
        return cast("Iterable[Any]", stream)
    if hasattr(stream, "__aiter__") or hasattr(stream, "aiter_bytes"):
        raise ResponseError(f"{type(stream).__name__} is asynchronous: use `async for … in aiter_events(stream)`")
    raise ResponseError(f"expected a stream or an iterable of str, bytes or chunks, got {type(stream).__name__}")


def _apieces(stream: Any) -> Any:
    inner = getattr(stream, "stream", None)
    if hasattr(stream, "aiter_bytes") and hasattr(inner, "__iter__") and not hasattr(inner, "__aiter__"):
        raise ResponseError(f"{type(stream).__name__} is synchronous: use `for … in iter_events(stream)`")
    if hasattr(stream, "aiter_bytes"):
        return stream.aiter_bytes()
    content = getattr(stream, "content", stream)
    if hasattr(content, "iter_any"):  # aiohttp
        return content.iter_any()
    if hasattr(stream, "__aiter__"):
        return stream
    raise ResponseError(
        f"expected an asynchronous stream, got {type(stream).__name__}: for a synchronous one use iter_events(stream)"
    )


def _status_code(stream: Any) -> int | None:
    status = getattr(stream, "status_code", None) or getattr(stream, "status", None)
    return status if isinstance(status, int) else None
