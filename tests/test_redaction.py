"""Redaction: each place and form a secret was planted in, and what must not change."""

from __future__ import annotations

import base64
import html
import json
import re
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickertape
from tickertape.testing._facts import Interaction
from tickertape.testing._wire import Data, Reply, Request, body_of, head_of, streamed, whole
from tickertape.testing.redaction import RULES, Redactor, Rule
from tickertape.testing.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parent.parent / "fixtures"

# Made here, and of letters that repeat: no scanner shall take this file for a leak.
KEY = "sk-" + "a1" * 24
SIGNATURE = "Zz0+/" * 8 + "="
URL = "https://files.example/out/cat.png?se=2026-01-20&sig=" + quote(SIGNATURE, safe="") + "&w=2"


def frame(content: str, key: str = "content", index: int = 0) -> bytes:
    value = {"id": "chatcmpl-1", "choices": [{"index": index, "delta": {key: content}}]}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def stream(*frames: bytes) -> Reply:
    return streamed(200, [Data(number / 8, data) for number, data in enumerate(frames)])


def said(*contents: str) -> Interaction:
    """An answer in these deltas, one chunk a frame."""
    return answered(stream(*map(frame, contents)))


def cut(content: str, size: int) -> list[str]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def chopped(body: bytes, size: int) -> Reply:
    """A stream in chunks of this size, wherever they cut it."""
    return stream(*(body[at : at + size] for at in range(0, len(body), size)))


def answered(reply: Reply) -> Interaction:
    return Interaction(Request("POST", "https://relay.example/v1/chat/completions", {}, b"{}"), reply)


def body(value: Any) -> Interaction:
    return answered(whole(200, value))


def header(name: str, value: str) -> Interaction:
    return answered(whole(200, {}, headers=[(name, value)]))


def asked(value: Any = None, url: str = "https://relay.example/v1", **headers: str) -> Interaction:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return Interaction(Request("POST", url, names, json.dumps(value).encode()), whole(200, {}))


def form(data: bytes) -> Interaction:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Interaction(Request("POST", "https://relay.example/", headers, data), whole(200, {}))


def parts(**fields: str) -> Interaction:
    """A form in parts."""
    text = "".join(
        f'--XbXyX\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    headers = {"content-type": "multipart/form-data; boundary=XbXyX"}
    return Interaction(
        Request("POST", "https://relay.example/", headers, f"{text}--XbXyX--\r\n".encode()), whole(200, {})
    )


def twice(text: str) -> str:
    """In base64 in base64."""
    inner = base64.b64encode(text.encode()).decode()
    return base64.b64encode(f"state={inner}".encode()).decode()


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def unescaped(text: str) -> str:
    """All layers of escapes off."""
    for _ in range(4):
        text = html.unescape(unquote(re.sub(r"\\u00([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), text)))
        text = text.replace("\\/", "/")
    return text


def unbase64(text: str) -> str:
    """What base64 in a text says, wherever in a word it begins."""
    words = [word[start:] for word in re.findall(r"[\w+/-]{16,}", text, re.ASCII) for start in range(4)]
    words = [word[: len(word) - (len(word) % 4 == 1)].replace("-", "+").replace("_", "/") + "==" for word in words]
    return "\n".join(base64.b64decode(word).decode("latin-1") for word in words)


def everything(item: Interaction) -> str:
    """All that an interaction says: raw, joined, decoded, and what base64 in it says."""
    request, head, reply = item.request, head_of(item.reply), body_of(item.reply)
    assert request
    assert head
    task = tickertape.parse_response(reply)
    thoughts = task.envelope.reasoning if task.envelope else ""
    raw = f"{request.url} {dict(request.headers)} {request.body!r} {head.headers} {reply.decode('utf-8', 'replace')}"
    text = f"{raw} {task.text} {thoughts}"
    return "\n".join([text, unescaped(text), unescaped(text.replace("+", " ")), unbase64(text)])


# -- each place and form -----------------------------------------------------------------

PLANTED: dict[str, tuple[str, Interaction]] = {
    "an authorization header": (KEY, asked(authorization=f"Bearer {KEY}")),
    "an authorization that is no known shape": ("0f" * 16, asked(authorization="Bearer " + "0f" * 16)),
    "a proxy authorization": ("hunter2-hunter2", asked(proxy_authorization="Basic " + basic("u", "hunter2-hunter2"))),
    "an api-key header": ("0f" * 16, asked(api_key="0f" * 16)),
    "a Google key header": ("abcd1234", asked(x_goog_api_key="abcd1234")),
    "a cookie": ("c0ffee", asked(cookie="theme=; session=c0ffee")),
    "a cookie that is set": ("c0ffee", header("Set-Cookie", "session=c0ffee; Path=/; HttpOnly")),
    "an organization header": ("studio-nine", header("openai-organization", "studio-nine")),
    "the address of a client": ("203.0.113.77", asked(x_forwarded_for="203.0.113.77")),
    "a query": ("pass w", asked(url="https://relay.example/?api_key=pass+w")),
    "a weak name in a query": ("abcd1234", asked(url="https://relay.example/?key=abcd1234")),
    "the password of a URL": ("hunter2", asked(url="https://bot:hunter2@relay.example/")),
    "nested JSON": ("hunter2", body({"a": [{"b": {"client_secret": "hunter2"}}]})),
    "a JSON number": ("48151623", body({"user_id": 48151623})),
    "a JSON key": (KEY, body({"by_key": {KEY: 1}})),
    "JSON in a JSON string": ("hunter2x", body({"arguments": json.dumps({"password": "hunter2x"})})),
    "escapes of JSON": (KEY, answered(whole(200, '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}'))),
    "a delta": (KEY, said("a ", f"key {KEY} b")),
    "two deltas": (KEY, said(KEY[:20], KEY[20:] + " b")),
    "deltas of one character": (KEY, said(*f"the {KEY} key")),
    "deltas of reasoning": (KEY, answered(stream(*(frame(part, "reasoning_content") for part in cut(KEY, 5))))),
    "deltas of growing choices": (
        KEY,
        answered(stream(*(frame(part, index=index) for index, part in enumerate(cut(KEY, 9))))),
    ),
    "a frame cut by chunks": (KEY, answered(chopped(frame(KEY), 11))),
    "a frame cut after every byte": (KEY, answered(chopped(frame(KEY), 1))),
    "behind a character cut by chunks": (KEY, answered(chopped(frame(f"猫🐱{KEY}猫"), 2))),
    "deltas and chunks at once": (KEY, answered(chopped(b"".join(map(frame, cut(KEY, 7))), 13))),
    "a link in markdown over deltas": (SIGNATURE, said(*cut(f"> ✅ 生成完成\n\n![a]({URL})\n", 4))),
    "a link with HTML escapes": (SIGNATURE, said(f"<img src='{URL.replace('&', '&amp;')}'>")),
    "a link inside of a link": (SIGNATURE, said(f"[a](https://view.example/?u={quote(URL, safe='')})")),
    "a link with escaped slashes": (
        "Zz0/" * 10,
        answered(whole(200, json.dumps("https://h.example/?sig=" + "Zz0/" * 10).replace("/", "\\/"))),
    ),
    "percent-encoded, every character": (KEY, said("go " + "".join(f"%{ord(c):02x}" for c in KEY))),
    "percent-encoded after it was seen": (
        "p+a/s=s w0rd",
        asked({"password": "p+a/s=s w0rd", "x": quote_plus("p+a/s=s w0rd").lower()}),
    ),
    "base64": (KEY, said(base64.b64encode(f"my key: {KEY}".encode()).decode())),
    "base64 for URLs": (
        KEY,
        asked(url="https://h.example/?state=" + base64.urlsafe_b64encode(f"??>{KEY}".encode()).decode()),
    ),
    "base64 of a secret that has no shape": (
        "hunter2-hunter2",
        asked({"password": "hunter2-hunter2", "x": "pre" + basic("me", "hunter2-hunter2")}),
    ),
    "an error text": (KEY, body({"error": {"message": f"Incorrect API key provided: {KEY}.", "type": "auth"}})),
    "an error frame": (
        KEY,
        answered(stream(frame("a"), b'event: error\ndata: {"error": {"message": "' + KEY.encode() + b'"}}')),
    ),
    "an error page": (KEY, answered(whole(502, f"<html><h1>Bad {KEY}</h1></html>"))),
    "a frame that is no JSON": (KEY, answered(stream(f'data: {{"a": "{KEY}"]]}}\n\n'.encode()))),
    "a comment": (KEY, answered(stream(f": {KEY}\n\n".encode(), frame("a")))),
    "a body that was cut": ("hunter2x", answered(whole(200, '{"a": 1, "password": "hunter2x", "b'))),
    "a whole stream in a string": (KEY, answered(whole(200, json.dumps((frame(KEY[:9]) + frame(KEY[9:])).decode())))),
    "a form": ("hunter2", form(b"a=1&password=hunter2")),
    "an account in an error text": ("studio9", body({"message": "账户 [studio9] 余额不足"})),
    "a user's number in Chinese": ("4815", body({"message": "用户 [4815] 额度不足 (request id: 20260114)"})),
    "a user's number in English": ("4815", body({"message": "user 4815 quota is not enough"})),
    "an organization in an error text": ("org-" + "Ab1" * 8, body({"message": "limit of org-" + "Ab1" * 8})),
    "a user field": ("alice-01", asked({"user": "alice-01"})),
    "an e-mail address": ("anna.k@studio-nine.cn", said("ask anna", ".k@studio-", "nine.cn!")),
    "an assignment behind another name": ("hunter2x", body({"message": "error: password=hunter2x"})),
    "a field of a form in parts": ("Zx9Qw7opzx9", parts(prompt="a cat", api_key="Zx9Qw7opzx9", size="1x1")),
    "a user of a form in parts": ("alice-01", parts(user="alice-01")),
    "JSON in a form in parts": ("hunter2x", parts(meta='{"client_secret": "hunter2x"}')),
    "a cookie that is JSON": ("hunter2Zx", asked(cookie='a=b; sess={"uid":42,"tok":"hunter2Zx"}; c=d')),
    "a cookie with a comma": ("hunter2x", header("set-cookie", "sid=abc,hunter2x; Path=/")),
    "a cookie with a space": ("hunter2x", header("set-cookie", "sid=abc hunter2x; Path=/")),
    "a quoted cookie": ("hunter2x", header("set-cookie", 'sid="abc;hunter2x"; Path=/')),
    "a cookie without a name": ("hunter2x", asked(cookie="hunter2x")),
    "a cookie without a name that is set": ("hunter2x", header("set-cookie", "hunter2x; Secure")),
    "a cookie named version": ("hunter2x", asked(cookie="a=b; version=hunter2x")),
    "a cookie named path that is set": ("hunter2x", header("set-cookie", "path=hunter2x; Path=/")),
    "a cookie behind the attributes of another": (
        "hunter2x",
        header("set-cookie", "a=b; Path=/, sid=hunter2x; Secure"),
    ),
    "a cookie behind a time": (
        "hunter2x",
        header("set-cookie", "a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT, sid=hunter2x"),
    ),
    "an old cookie": ("hunter2x", header("set-cookie2", "sid=hunter2x; Version=1")),
    "base64 of lines": (KEY, said(base64.b64encode(f"a: 1\r\n\tkey: {KEY}\n".encode()).decode())),
    "long base64": (KEY, said(base64.b64encode(f"{'word ' * 2000}{KEY}".encode()).decode())),
    "JSON in base64": ("hunter2x", said(base64.b64encode(b'{"a": 1,\n "password": "hunter2x"}').decode())),
    "a word in JSON in a string": ("open sesame", body({"x": '{"a": {"password": "open sesame"}}'})),
    "a password with quotes": ("xyzzy42", body({"x": json.dumps({"password": 'op"xyzzy42'})})),
    "lines of JSON": ("open sesame", answered(whole(200, '{"a": 1}\n{"password": "open sesame"}\n'))),
    "a number in lines of JSON": ("48151", answered(whole(200, '{"a": 1}\n{"user_id": 48151}\n{"b"'))),
    "JSON texts in a row": ("open sesame", answered(whole(200, '{"a": 1}{"password": "open sesame"} {"b": 1}'))),
    "JSON that breaks off": ("open sesame", answered(whole(200, '{"a": {"password": "open sesame", "b": {"c'))),
    "JSON that breaks off in the secret": ("open ses", answered(whole(200, '{"a": {"password": "open ses'))),
    "a frame that breaks off": (
        "open sesame",
        answered(stream(frame("a"), b'data: {"error": {"password": "open sesame", "x')),
    ),
    "a pair of name and value": ("open sesame", body({"h": [{"name": "Authorization", "value": "open sesame"}]})),
    "a pair of value and name": ("open sesame", body({"h": [{"value": "open sesame", "name": "password"}]})),
    "a pair that is a header": ("c0ffee", body({"h": [{"name": "Cookie", "value": "sid=c0ffee"}]})),
    "a pair in a string": ("open sesame", body({"x": '[{"name": "X-Api-Key", "value": "open sesame"}]'})),
    "the id of a user": ("u48151", body({"user": {"id": "u48151", "plan": "free"}})),
    "the number of a user": ("48151", body({"user": {"id": 48151, "plan": "free"}})),
    "the name of a user": ("Alice Liddell", body({"data": {"user": {"a": [1], "name": "Alice Liddell"}}})),
    "the phone of an account": ("+49 30 1234", body({"account": {"phone": "+49 30 1234"}})),
    "the name of a user in a string": (
        "Alice Liddell",
        body({"x": '{"user": {"a": {"b": 1}, "name": "Alice Liddell"}}'}),
    ),
    "XML": ("hunter2xyz", answered(whole(200, "<a><AccessKeySecret>hunter2xyz</AccessKeySecret></a>"))),
    "the fragment of a redirection": ("hunter2x", header("location", "https://app.example/cb#access_token=hunter2x")),
    "a token in a header of its own": ("hunter2x", asked(x_portal_token="hunter2x")),
    "a key in a header of its own": ("hunter2x", asked(x_studio_api_key="hunter2x")),
    "a secret in a header of its own": ("hunter2x", asked(x_relay_secret="hunter2x")),
    "a session in a header": ("hunter2x", header("X-Session-Id", "hunter2x")),
    "a link signed for Akamai": (
        "0f1e" * 16,
        said("![a](https://a.example/a.png?hdnts=exp=17~acl=/*~hmac=" + "0f1e" * 16 + ")"),
    ),
    "an address with an umlaut": ("jürgen@corp-mail.de", said("an jürgen@corp-mail.de!")),
    "an address at a host with an umlaut": ("bob@bücher.de", said("an bob@bücher.de!")),
    "an address with an apostrophe": ("o'brien@corp-mail.io", said("to o'brien@corp-mail.io!")),
    "an assignment in a prompt": ("hunter2hunter2", asked({"prompt": "draw MY_API_KEY=hunter2hunter2"})),
}


@pytest.mark.parametrize(("secret", "item"), PLANTED.values(), ids=PLANTED)
def test_a_secret_planted_in(secret: str, item: Interaction) -> None:
    assert secret in everything(item), "the case plants nothing"
    redactor = Redactor()
    redacted = redactor.redact(item)
    left = everything(redacted)
    assert secret not in left
    # Nor a part of it that says much.
    assert not any(secret[at : at + 12] in left for at in range(max(0, len(secret) - 12)))
    assert Redactor().scan(item)
    assert redactor.scan(redacted) == Redactor().scan(redacted) == []
    assert redactor.redact(redacted) is redacted
    assert Redactor().redact(redacted) is redacted
    assert len(redacted.reply) == len(item.reply)
    assert [step.t for step in redacted.reply] == [step.t for step in item.reply]
    kinds = [type(event) for event in tickertape.parse_response(body_of(item.reply)).events]
    assert [type(event) for event in tickertape.parse_response(body_of(redacted.reply)).events] == kinds
    head = head_of(redacted.reply)
    assert head
    if length := dict(head.headers).get("content-length"):
        assert int(length) == len(body_of(redacted.reply))


def test_a_fragment_has_names_as_a_query_does() -> None:
    """No tape keeps the fragment of a request; a journal may."""
    for route in ("cb#", "#/cb?"):
        redacted = Redactor().redact(Request("GET", f"https://app.example/{route}access_token=hunter2x&state=1#"))
        assert redacted.url.startswith(f"https://app.example/{route}access_token=REDACTED-key-1&state=1")


def test_a_secret_that_is_a_part_of_another_is_replaced_where_it_stands_alone() -> None:
    item = body({"password": f"my {KEY}", "x": f"ab{KEY}"})
    assert json.loads(body_of(Redactor().redact(item.reply))) == {"password": "REDACTED-key-1", "x": "abREDACTED-key-2"}


def test_a_secret_in_base64_in_base64_goes_with_all_of_it() -> None:
    assert Redactor().redact(f"see {twice(f'my key: {KEY}')}.") == "see REDACTED-key-1."


@pytest.mark.parametrize(
    ("set_cookie", "left"),
    [
        ("a=b; Path=/x; Domain=h.example; Max-Age=60; HttpOnly; SameSite=Lax", "a=•; Path=/x; Domain=h.example; "
         "Max-Age=60; HttpOnly; SameSite=Lax"),
        ("a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure", "a=•; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure"),
        ("a=; Path=/", "a=; Path=/"),
        ('a="b;c" ; Priority=High; Partitioned', 'a="•" ; Priority=High; Partitioned'),
        ("a=b; Path=/, c=d; Secure", "a=•; Path=/, c=•; Secure"),
    ],
)  # fmt: skip
def test_what_a_cookie_is_for_stays(set_cookie: str, left: str) -> None:
    head = head_of(Redactor().redact(header("set-cookie", set_cookie).reply))
    assert head
    assert re.sub(r"REDACTED-cookie-\d", "•", dict(head.headers)["set-cookie"]) == left


ARGUMENTS = ['{"user_id": 5512, "x": 1}', '{"a":{"user_id":5512}}', '{\n "user": {"id": -5512}\n}', '{"uid": 5512']


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("size", [0, 3])
def test_a_number_in_json_in_a_string_stays_one(arguments: str, size: int) -> None:
    expected = re.sub("-?5512", "990000001", arguments)
    if size:
        calls = [
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}]}
            for part in cut(arguments, size)
        ]
        data = [b"data: " + json.dumps(call).encode() + b"\n\n" for call in calls]
        redacted = Redactor().redact(stream(*data))
        frames = [json.loads(line[6:]) for line in body_of(redacted).decode().split("\n\n") if line]
        values = [each["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for each in frames]
        assert "".join(values) == expected
    else:
        message = {"tool_calls": [{"function": {"arguments": arguments}}]}
        redacted = Redactor().redact(whole(200, {"choices": [{"message": message}]}))
        message = json.loads(body_of(redacted))["choices"][0]["message"]
        assert message["tool_calls"][0]["function"]["arguments"] == expected
    assert Redactor().redact(redacted) is redacted
    assert Redactor().scan(redacted) == []


def delta(**values: Any) -> Callable[[str], Any]:
    return lambda part: json.loads(json.dumps({"choices": [{"index": 0, **values}]}).replace("PART", part))


DELTAS: dict[str, Callable[[str], Any]] = {
    "a refusal": delta(delta={"refusal": "PART"}),
    "a function call": delta(delta={"function_call": {"arguments": "PART"}}),
    "what is said": delta(delta={"audio": {"transcript": "PART"}}),
    "details of reasoning": delta(delta={"reasoning_details": [{"type": "reasoning.text", "text": "PART"}]}),
    "text of reasoning": delta(delta={"reasoning_text": "PART"}),
    "whole messages": delta(message={"content": "PART"}),
    "probabilities": delta(logprobs={"content": [{"token": "PART"}]}),
    "a field that nobody knows": lambda part: {"progress": {"note": part}},
    "an event of the Responses API": lambda part: {
        "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": part,
    },
    "a block of Anthropic": lambda part: {"type": "content_block_delta", "index": 1, "delta": {"text": part}},
}  # fmt: skip


@pytest.mark.parametrize("told", DELTAS.values(), ids=DELTAS)
@pytest.mark.parametrize("how", ["frames", "lines"])
def test_a_key_cut_by_frames_is_found_in(told: Callable[[str], Any], how: str) -> None:
    def strings(value: Any) -> str:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return value if isinstance(value, str) else "".join(map(strings, inner))

    start, end = ("data: ", "\n\n") if how == "frames" else ("", "\n")
    pieces = ["go: ", *cut(KEY, 5), ", ", "ok"]
    reply = stream(*(f"{start}{json.dumps(told(piece))}{end}".encode() for piece in pieces))
    redacted = Redactor().redact(reply)
    frames = [json.loads(line.removeprefix(start)) for line in body_of(redacted).decode().split(end) if line]
    said = "".join(map(strings, frames))
    for fixed in ("reasoning.text", "response.output_text.deltamsg_1", "content_block_delta"):
        said = said.replace(fixed, "")
    assert said == "go: REDACTED-key-1, ok"
    assert Redactor().scan(reply)
    assert Redactor().scan(redacted) == []
    assert Redactor().redact(redacted) is redacted


def test_calls_that_take_turns_are_told_apart_by_their_index() -> None:
    def call(index: int, part: str) -> bytes:
        calls = [{"index": index, "function": {"arguments": part}}]
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}).encode() + b"\n\n"

    other = "sk-" + "b2" * 24
    turns = [call(number, key[at : at + 6]) for at in range(0, 51, 6) for number, key in enumerate((KEY, other))]
    left = body_of(Redactor().redact(stream(*turns))).decode()
    assert left.count("REDACTED-key-1") == left.count("REDACTED-key-2") == 1
    assert "a1a1" not in left
    assert "b2b2" not in left


def test_items_of_one_stream_are_told_apart() -> None:
    def event(index: int, part: str) -> bytes:
        value = {"type": "response.output_text.delta", "output_index": index, "item_id": f"m{index}", "delta": part}
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    left = body_of(
        Redactor().redact(stream(event(0, "abc"), event(1, KEY[:9]), event(0, "d"), event(1, KEY[9:])))
    ).decode()
    assert "a1a1" not in left
    assert left.count("REDACTED-key-1") == 1


def test_texts_that_say_the_whole_again_are_none_in_parts() -> None:
    texts = [f"see {KEY}", f"see {KEY} or", f"see {KEY} or so"]
    reply = stream(*(f"data: {json.dumps({'text': text})}\n\n".encode() for text in texts))
    expected = [text.replace(KEY, "REDACTED-key-1") for text in texts]
    lines = body_of(Redactor().redact(reply)).decode().split("\n\n")[:3]
    assert [json.loads(line[6:])["text"] for line in lines] == expected


PICTURES = {
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
    "a JPEG": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40,
    "a film": b"\0\0\0\x20ftypisom" + bytes(range(256)) * 40,
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_pictures_are_not_looked_into_and_what_stands_beside_them_is(data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    value = {"b64_json": encoded, "content": f"![a](data:image/png;base64,{encoded}) {KEY}", "result": encoded}
    left = json.loads(body_of(Redactor().redact(whole(200, value))))
    assert left == value | {"content": f"![a](data:image/png;base64,{encoded}) REDACTED-key-1"}


def test_a_text_that_is_called_a_picture_is_looked_into() -> None:
    encoded = base64.b64encode(f"{'my words ' * 40}{KEY}".encode()).decode()
    for value in (
        {"b64_json": encoded},
        {"url": f"data:image/png;base64,{encoded}"},
        {"url": f"data:image/svg+xml;base64,{encoded}"},
    ):
        assert Redactor().scan(whole(200, value))


SHAPES = {
    "OpenAI": "sk-" + "a1B2" * 12,
    "OpenAI project": "sk-proj-" + "a1B2_-" * 12,
    "OpenAI session": "sess-" + "a1" * 20,
    "Anthropic": "sk-ant-api03-" + "a1B2" * 22 + "AA",
    "masked": "sk-abcd" + "*" * 20 + "wxyz",
    "Google": "AIza" + "Sy0" * 11 + "ab",
    "AWS": "AKIA" + "A1B2" * 4,
    "AWS session": "ASIA" + "A1B2" * 4,
    "Azure": "a1" * 26 + "JQQJ9" + "9" * 27,
    "Azure client": "abc" + "8Q~" + "d" * 34,
    "Azure storage": "AccountKey=" + "a1" * 43 + "==",
    "GitHub": "ghp_" + "a1" * 18,
    "GitHub fine-grained": "github_pat_" + "a1" * 30,
    "Slack": "xoxb" + "-1234567890-abcdefghij",
    "Hugging Face": "hf_" + "aB" * 17,
    "Stripe": "sk_live" + "_" + "a1" * 12,
    "JWT": "eyJ" + "hbGciOiJ9." + "eyJ" + "zdWIiOiIx." + "c2ln" * 6,
    "bearer": "Bearer " + "A1." * 8,
    "Aliyun": "LTAI" + "5t" * 10,
    "Tencent": "AKID" + "z8" * 16,
    "Volcengine": "AKLT" + "z8" * 16,
    "Zhipu": "0f" * 16 + "." + "aB" * 8,
    "Telegram": "123456789" + ":AA" + "b" * 33,
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_a_key_is_known_by_its_shape_alone(text: str) -> None:
    redacted = Redactor().redact(f"用 {text} 画")
    assert "REDACTED-" in redacted
    assert redacted.startswith("用 ")
    assert redacted.endswith(" 画")
    assert text not in redacted
    assert Redactor().scan(redacted) == []


SIGNED = {
    "Azure": ("sig=Zz%2B%2F0%3D&skoid=0f0f-01&sktid=0e0e-02", "se=2026-01-20&sp=r&sv=2024-08-04&sr=b"),
    "AWS": ("X-Amz-Credential=AK%2F2026%2Fs3&X-Amz-Signature=0f0f&X-Amz-Security-Token=Fwo%2F", "X-Amz-Expires=3600"),
    "AWS, version 2": ("AWSAccessKeyId=AK0&Signature=Zz0%3D", "Expires=1768300000"),
    "GCS": ("X-Goog-Credential=bot%40p&X-Goog-Signature=0f0f", "X-Goog-Date=20260120T000000Z"),
    "GCS, version 2": ("GoogleAccessId=bot&Signature=Zz0%3D", "Expires=1768300000"),
    "Aliyun": ("OSSAccessKeyId=TMP.3K&Signature=Zz0%3D&security-token=CAIS", "Expires=1768300000"),
    "Aliyun, version 4": ("x-oss-credential=ak&x-oss-signature=0f0f&x-oss-security-token=CA", "x-oss-expires=60"),
    "Tencent": ("q-ak=ak0&q-signature=0f0f&x-cos-security-token=tok", "q-sign-algorithm=sha1&q-sign-time=1;2"),
    "CloudFront": ("Policy=eyJT__&Signature=Zz~-&Key-Pair-Id=K0", "w=1"),
    "Volcengine": ("x-signature=Zz0%3D", "x-expires=1770000000"),
    "Discord": ("hm=" + "0f" * 32, "ex=65&is=66"),
}


@pytest.mark.parametrize(("secret", "rest"), SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize("place", ["content", "query"])
def test_a_signed_url_loses_what_signs_it_and_stays_a_url(secret: str, rest: str, place: str) -> None:
    url = f"https://files.example/out/cat_1.png?{secret}&{rest}"
    if place == "content":
        item = said(*cut(f"![a]({url})", 7))
        (result,) = tickertape.parse_response(body_of(Redactor().redact(item).reply)).results
        redacted = result.url
    else:
        request = Redactor().redact(Request("GET", url))
        redacted = request.url
    before, after = urlsplit(url), urlsplit(redacted)
    assert (after.netloc, after.path) == (before.netloc, before.path)
    assert redacted.endswith(rest)
    names = [name for name, _ in parse_qsl(secret)]
    values = dict(parse_qsl(after.query))
    assert [re.fullmatch(r"REDACTED-[a-z]+-\d", values[name]) is not None for name in names] == [True] * len(names)


# -- placeholders ------------------------------------------------------------------------


def test_the_same_secret_gets_the_same_placeholder_in_all_interactions_and_forms() -> None:
    first = asked({"user": "alice-01"}, authorization=f"Bearer {KEY}")
    second = said(f"{KEY} or {quote(KEY[:3]) + KEY[3:]}", " of alice-01")
    other = "sk-" + "b2" * 24
    tape = Redactor().redact(Tape("a/b", f"with {KEY}", None, (second, first, said(other)), {"by": {"token": KEY}}))
    assert tape.title == "with REDACTED-key-1"
    assert tape.extra == {"by": {"token": "REDACTED-key-1"}}
    request = tape.interactions[1].request
    assert request
    assert request.headers["authorization"] == "Bearer REDACTED-key-1"
    # Seen only in the second interaction, replaced in the first one too.
    assert request.json == {"user": "REDACTED-user-1"}
    assert tickertape.parse_response(body_of(tape.interactions[0].reply)).text.count("REDACTED-user-1") == 1
    assert tickertape.parse_response(body_of(tape.interactions[0].reply)).text.count("REDACTED-key-1") == 2
    assert "REDACTED-key-2" in body_of(tape.interactions[2].reply).decode()


def test_a_cookie_joins_where_it_was_set_and_where_it_came_back() -> None:
    redactor = Redactor()
    was_set = head_of(redactor.redact(header("set-cookie", "sid=c0ffee; Path=/").reply))
    request = redactor.redact(asked(cookie="a=b; sid=c0ffee")).request
    assert was_set
    assert request
    assert dict(was_set.headers)["set-cookie"] == "sid=REDACTED-cookie-1; Path=/"
    assert request.headers["cookie"] == "a=REDACTED-cookie-2; sid=REDACTED-cookie-1"


def test_an_e_mail_address_stays_one_and_a_number_a_number() -> None:
    redactor = Redactor()
    assert redactor.redact("to bob@corp-mail.cn.") == "to user-1@redacted.invalid."
    reply = redactor.redact(whole(200, b'{"user_id": 4815, "b": {"user_id":4815}, "uid": 7}'))
    assert body_of(reply) == b'{"user_id": 990000001, "b": {"user_id":990000001}, "uid": 990000002}'


def test_an_image_of_a_request_keeps_its_type_its_hash_and_its_size() -> None:
    data = bytes(range(256)) * 3
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    item = asked({"image_url": {"url": url}, "again": [url], "image": url.partition(",")[2]})
    redacted = Redactor().redact(item).request
    assert redacted
    expected = "REDACTED-image-1-sha256-a7df3b1c4ef31c88-768"
    again = redacted.json["again"][0]
    assert re.sub("sha256-[0-9a-f]{16}", "sha256-a7df3b1c4ef31c88", again) == f"data:image/png;base64,{expected}"
    assert redacted.json["image_url"]["url"] == again
    assert redacted.json["image"] == again.partition(",")[2]


def test_an_image_of_an_answer_stays() -> None:
    item = said("![a](data:image/png;base64," + base64.b64encode(bytes(200)).decode() + ")")
    assert Redactor().redact(item) is item


def test_numbers_go_on_behind_the_placeholders_that_a_tape_already_holds() -> None:
    assert Redactor().redact(f"REDACTED-key-7, {KEY}") == "REDACTED-key-7, REDACTED-key-8"


def test_lines_of_a_private_key_are_replaced_and_stay_lines() -> None:
    begin, end = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
    redacted = Redactor().redact(f"{begin}\n{'MIIE' * 16}\n{'abcd' * 16}\n{end}\n")
    assert redacted == f"{begin}\nREDACTED-pem-1\nREDACTED-pem-2\n{end}\n"


def test_a_secret_that_is_learned_is_replaced_where_no_rule_would_find_it() -> None:
    redactor = Redactor()
    redactor.learn(asked({"password": "open-sesame"}))
    assert redactor.redact("it was open-sesame!") == "it was REDACTED-key-1!"
    assert Redactor().redact("it was open-sesame!") == "it was open-sesame!"


def test_a_redactor_does_not_show_what_it_has_seen() -> None:
    redactor = Redactor()
    redactor.learn(KEY)
    assert KEY not in repr(redactor)


# -- own rules ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        Rule("tenant", r"tenant-(\d+)"),
        Rule("tenant", re.compile(r"tenant-(?P<secret>\d+)")),
        Rule("tenant", lambda text: [(text.index("12"), text.index("12") + 2)] if "tenant-12" in text else []),
    ],
)
def test_an_own_rule_is_a_pattern_or_a_function(rule: Rule) -> None:
    redactor = Redactor(extra=[rule])
    item = said("of ten", "ant-", "12", ".")
    assert tickertape.parse_response(body_of(redactor.redact(item).reply)).text == "of tenant-REDACTED-secret-1."
    assert [finding.rule for finding in Redactor(extra=[rule]).scan(item)] == ["tenant"]


def test_only_the_rules_given_are_applied() -> None:
    assert Redactor(rules=[]).redact(KEY) == KEY
    only = [rule for rule in RULES if rule.name == "e-mail"]
    assert Redactor(only).redact(f"{KEY} bob@corp-mail.cn") == f"{KEY} user-1@redacted.invalid"


def test_a_family_that_would_make_no_placeholder_is_refused() -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        Rule("x", "x", family="My-Keys")


# -- scanning ----------------------------------------------------------------------------


def test_a_finding_tells_rule_and_place_and_masks_every_secret() -> None:
    tape = Tape("a/b", "", None, (said("a"), body({"error": {"message": f"key {KEY} of bob@corp-mail.cn failed"}})))
    first, second = Redactor().scan(tape)
    assert (first.rule, second.rule) == ("openai-key", "e-mail")
    assert first.where == "interaction 2: response body $.error.message"
    assert first.excerpt == "key •••(51) of •••(16) failed"
    assert second.excerpt == "key •••(51) of •••(16) failed"


def test_a_body_that_cannot_be_looked_into_is_a_finding() -> None:
    item = answered(whole(200, b"\x1f\x8b", headers=[("Content-Encoding", "gzip")]))
    assert [finding.rule for finding in Redactor().scan(item)] == ["compressed"]


# -- what must not change ----------------------------------------------------------------

HARMLESS = [
    "task_01kctyffzxen691hatw9fvvq52 gen_01kctyffzxen691hatw9fvvq52 chatcmpl-89DcBWwyYJTL7WL0ir62YavjfOQCa",
    "s_68ec8f00d1a08191b2f0 file_000000001234abcd5678 5b0c7a52-9d1e-4f6b-8a37-20c1d2e3f4a5",
    "https://filesystem.site/cdn/download/20251219/1f1d0fea4a925722a0bb3178e81a92.png",
    "https://oss.filenest.top/uploads/5b0c7a52-9d1e-4f6b-8a37-20c1d2e3f4a5.png?x-expires=1770000000",
    "https://cdn.example/a.mp4?sig=REDACTED&se=2025-12-25T09%3A19%3A35Z&ac=oaivgprodscus2",
    "a user 3 metres tall, password: friend, a key=value sign; the token: gold",
    "sk-learn-like-approaches-to-drawing, a task-oriented-desk-arrangement, ask-me-anything-about-it",
    "上游负载已饱和，请稍后再试 (request id: 20260114102233xyz)",
    "用户 [点击这里](https://files.example/a.png) 用户额度不足",
    "write to someone@example.com or root@localhost",
    "user quota is not enough; no free account; bearer of bad news and certificates",
    '{"user": null, "name": "user", "key": "uploads/a1.png", "token": "string", "user": {"type": "object"}}',
    '{"name": "prompt", "value": "a cat 1"}, {"name": "Password", "value": "password"}',
    '[{"name": "draw", "description": "a user draws", "parameters": {"user": {"type": "string"}}}]',
    "<UserName> is <b>bold</b>, <password>friend</password>, l'été à la plage @corp.io o'clock",
    "https://h.example/docs#signature and https://h.example/a.png#t=10 hmac=sha256",
    "2026-01-20T10:00:00Z 1768300000 100% 48.. `message_id` a@b",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_ids_hosts_paths_prompts_and_times_stay(text: str) -> None:
    assert Redactor().scan(text) == []
    for item in (said(*cut(text, 5)), body({"id": text, "prompt": text, "url": text}), asked({"messages": [text]})):
        assert Redactor().redact(item) is item


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FIXTURES.rglob("*.*")) if path.is_file() and path.parent.name != "fatal"],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_gallery_stays_byte_for_byte(path: Path) -> None:
    data = path.read_bytes()
    is_request = path.name.endswith(".request.json")
    item: Any = Request("POST", "https://relay.example/", {}, data) if is_request else whole(200, data)
    assert Redactor().redact(item) is item
    assert Redactor().scan(item) == []


# -- properties --------------------------------------------------------------------------

KEYS = [KEY, KEY[:20], KEY[20:], "sk-", "AKIA" + "A1B2" * 4, "Bearer ", "eyJ" + "a" * 12 + ".", basic("me", KEY)]
URLS = [URL, SIGNATURE, "&sig=", f"![a]({URL})", quote(URL, safe=""), quote(KEY), "%", "%2", "&amp;", "\\", "\\u0041"]
NAMES = ['{"user": {"id": 4815', '"name": "password", "value": "', '"user_id": 4815', "o'", "ü"]
NAMES += ["bob@corp-mail.cn", "@", "password=", '"password": "', "hunter22", "用户 [4815] 额度不足"]
STATUS = [
    "> ID: `task_01`\n",
    "\n> 生成中",
    "..",
    "> 进度 48..",
    "\n\n",
    "✅ 生成完成\n",
    "\n> 生成失败 ❌\n失败原因：",
]
OTHERS = ["😀", '"', " ", "REDACTED-key-3", "user-1@redacted.invalid"]
WORDS = st.one_of(st.text(max_size=5), *map(st.sampled_from, (KEYS, URLS, NAMES, STATUS, OTHERS)))
TEXTS = st.lists(WORDS, max_size=12).map("".join)


@given(TEXTS, st.randoms(use_true_random=False))
def test_redacting_chunks_is_redacting_the_text(text: str, random: Random) -> None:
    redacted = Redactor().redact(text)
    borders = sorted(random.sample(range(len(text) + 1), random.randint(0, len(text))))
    deltas = [text[start:end] for start, end in pairwise([0, *borders, len(text)])]
    data = b"".join(map(frame, deltas)) + b"data: [DONE]\n\n"
    cuts = sorted(random.sample(range(len(data)), random.randint(0, min(40, len(data)))))
    reply = stream(*(data[start:end] for start, end in pairwise([0, *cuts, len(data)])))
    out = Redactor().redact(reply)
    lines = body_of(out).decode().split("\n\n")
    assert "".join(json.loads(line[6:])["choices"][0]["delta"]["content"] for line in lines[: len(deltas)]) == redacted
    assert [step.t for step in out] == [step.t for step in reply]
    in_json = Redactor().redact(whole(200, {"choices": [{"message": {"content": text}}]}))
    assert json.loads(body_of(in_json))["choices"][0]["message"]["content"] == redacted
    length = dict((head_of(in_json) or head_of(out)).headers)["content-length"]  # type: ignore[union-attr]
    assert int(length) == len(body_of(in_json))


@given(TEXTS)
def test_redacting_twice_is_redacting_once_and_leaves_nothing_to_find(text: str) -> None:
    redactor = Redactor()
    redacted = redactor.redact(text)
    assert redactor.redact(redacted) == redacted
    assert Redactor().redact(redacted) == redacted
    assert Redactor().scan(redacted) == []
    # Once it was seen, it is gone wherever it stands.
    assert KEY not in Redactor().redact(f"{text} {KEY}")


SECRETS = [KEY, "bob@corp-mail.cn", "AKIA" + "A1B2" * 4, "password=hunter2x", "用户 [4815] 额度不足", basic("me", KEY)]
LINES = [
    "> ID: `task_01`\n",
    "> 排队中..\n",
    ">🏃 进度 48..",
    "> ✅ 生成完成\n\n",
    "\n",
    "prose, ",
    "> 生成失败 ❌\n失败原因：",
    f"\n![a]({URL})\n",
    f"[点击下载]({URL})\n",
    f"[100]({URL})\n",
    f'```json\n{{"prompt": "{KEY}"}}\n```\n',
]


@given(st.lists(st.sampled_from([*LINES, *SECRETS]), max_size=12))
def test_what_is_redacted_reads_as_it_did(pieces: list[str]) -> None:
    text = "".join(pieces)
    before, after = tickertape.parse(text), tickertape.parse(Redactor().redact(text))
    assert [type(event) for event in after.events] == [type(event) for event in before.events]
    assert (after.status, len(after.results), after.progress) == (before.status, len(before.results), before.progress)
    assert [urlsplit(result.url).path for result in after.results] == [urlsplit(r.url).path for r in before.results]


# -- hostile -----------------------------------------------------------------------------

HOSTILE = [
    *("a", "A1", "a.", "a@", "@a.", "a:", "sk-", "sk-aaaaaaaaaa", "eyJ", "eyJaaaaaaaaa.", "AKIA", "org-", "QUJD"),
    *(
        '"user":',
        '{"user":',
        '"user":{',
        '{"name":"a","value":"b"},',
        "<password>",
        "<password>a1b2c3d4</",
        "a'",
        "ä.",
        "{}",
    ),
    *("data:image/png;base64," + "A" * 300, "iVBORw0KGgo", "hmac=", "[{", "{}\n", '"password":"a', '"password":"\\'),
    *("?sig=", "?sig=a1b2c3d4&", "%25", "%", "\\", '\\"', "&amp;", "&", "://", "://a:b@", "data:image/png;base64,"),
    *(
        "aa=",
        "aa: password=",
        "user [",
        "user id: ",
        "账号「",
        "password=",
        "=a1b2c3d4 ",
        "bearer ",
        "-----BEGIN PRIVATE " + "KEY-----",
        "\n",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_long_text_takes_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    redact: Callable[[str], str] = Redactor().redact
    assert len(redact(text)) > 0
