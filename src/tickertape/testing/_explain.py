"""Why nothing that was played answers a request: what was found, what came nearest, what differs, what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ._endpoints import ENDPOINTS, orders
from ._errors import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._journal import Call
    from ._plays import Play
    from ._relay import Relay
    from ._wire import Request

_ROUTES = ("/chat/completions", *ENDPOINTS)
"""What is ordered by; the nearest of them is told to one who misspelt it."""


def explain(relay: Relay, call: Call) -> str:
    """The message of an `UnmatchedRequest`, a line for each of these."""
    request = call.request
    what = f"{request.method} {bare(request.url)} matches nothing that was played."
    return "\n  ".join((what, *_told(relay, call)))


def bare(url: str) -> str:
    """A URL without its query, which may hold a key."""
    path, mark, _ = url.partition("?")
    return f"{path}?…" if mark else path


def _told(relay: Relay, call: Call) -> Iterator[str]:
    request = call.request
    if not relay.mine(request):
        yield f"found: a URL outside base_url={relay.base_url!r}"
        yield "remedy: point the client there, or leave base_url out to answer any host"
        return
    if orders(request):
        yield from _order(relay, call)
        return
    if (used := relay.used_up(request)) is not None:
        name, count = used
        given = "its recorded answer was given" if count == 1 else f"its {count} recorded answers were all given"
        yield f"found: one request more than {name} holds: {given}"
        yield "remedy: record the job to its end, or let the client stop there; what comes next is not made up"
        return
    if (link := relay.link(request.url)) is not None:
        yield from _link(request, *link)
        return
    yield "found: a request that is neither an order (a chat completion), nor a list of models, nor a link of an answer"
    if (slip := _slip(request)) is not None:
        yield slip
        yield "remedy: ask there, or add a route of your own to fake_relay.router (respx)"
        return
    yield from (f"nearest: {url}" for url in get_close_matches(request.url, relay.links(), n=3))
    yield (
        "remedy: play a scenario or a tape whose links hold it, or add a route of your own to fake_relay.router (respx)"
    )


def _link(request: Request, name: str, role: str) -> Iterator[str]:
    if request.method not in ("GET", "HEAD"):
        yield f"found: a link of {name} ({role})"
        yield f"differs in method: expected GET, found {request.method}"
        yield "remedy: get it, or add a route of your own to fake_relay.router (respx)"
        return
    yield f"found: a link of {name} ({role}), which holds no answer to it and does not tell how the job ended"
    yield "remedy: record the poll as well, or play a scenario, whose job goes on behind its links"


def _slip(request: Request) -> str | None:
    """Where a request is an order's but for its method, or for a slip of the pen in its path."""
    path = request.path.rstrip("/")
    if path.endswith(_ROUTES):
        return f"differs in method: expected POST, found {request.method}"
    for route in _ROUTES if request.method == "POST" else ():
        end = "/".join(path.split("/")[-route.count("/") :])
        if get_close_matches(f"/{end}", [route], cutoff=0.8):
            return f"differs in path: expected …{route}, found {request.path}"
    return None


def _order(relay: Relay, call: Call) -> Iterator[str]:
    yield f"found: model {call.model!r}, prompt {short(call.prompt)}, stream {call.stream}"
    judged = relay.judged(call)
    if not judged:
        yield "expected: nothing was played"
        yield "remedy: fake_relay.play('gpt-image-1.5/cat-drinking-milk') before the client asks"
        return
    differs, play = min(judged, key=lambda told: (len(told[0]), told[1].exhausted))
    used = [play for differs, play in judged if not differs]
    if used:  # the last one: of it there can be more without a change of what came before
        play = next((play for play in reversed(used) if play.source is not None), used[-1])
    yield f"nearest: {play.name}"
    yield from (f"differs in {told}" for told in differs)
    if differs:
        yield "remedy: change when=, or play something for this request as well"
    else:
        yield from _used_up(play, len(used))


def _used_up(play: Play, count: int) -> Iterator[str]:
    if count > 1:
        yield f"found: all {count} plays that match are used up, of which this is the last"
    yield f"differs in times: it was played {play.played} of {play.times} already"
    yield f"remedy: play it with times={play.played + 1}, or times=None for any number of requests"
