"""The inspector: what it is told of a call, and the page, in a real browser.

The browser tests need chromium and chromedriver (Debian: `apt-get install chromium
chromium-driver`). With TICKERTAPE_SCREENSHOTS=docs/images they write the pictures of the docs.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import tickertape
from tickertape.testing import Call, Fault, Scenario, Tape
from tickertape.testing._control import _prefers_html, page
from tickertape.testing._gallery import gallery
from tickertape.testing._inspect import Reading, detail, medium_of, summary
from tickertape.testing._media import media as media_file
from tickertape.testing._wire import Data, Request, body_of, streamed, whole
from tickertape.testing.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome

    from tickertape.testing._wire import Reply

pytestmark = pytest.mark.timeout(180)  # a browser starts slowly where there are few cores

KEY = {"authorization": "Bearer sk-tickertape"}
HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGE = "/__tickertape__/"
PICTURE = "data:image/png;base64," + base64.b64encode(media_file("image", number=4242)[0]).decode()
HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u202egnp.exe\u2066\x07"


def frame(content: str) -> bytes:
    told = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": content}}]}
    return f"data: {json.dumps(told)}\n\n".encode()


def call_of(reply: Reply, *, received: int | None = None, ended: Any = "eof", **told: Any) -> Call:
    """A call that was answered, and read to the end unless told otherwise."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a cat"}], "stream": True}
    request = Request(
        "POST", "http://relay.example/v1/chat/completions", KEY, json.dumps(told.pop("body", body)).encode()
    )
    call = Call(1, 100.0, request, told.pop("kind", "chat"), answer="a test", reply=reply, **told)
    call.received = len(body_of(reply)) if received is None else received
    call.ended, call.ended_at = ended, None if ended is None else 100.0 + reply[-1].t
    return call


def stream_of(*contents: str) -> Reply:
    """One frame a second, from 1 on."""
    return streamed(200, [Data(float(at), frame(content)) for at, content in enumerate(contents, 1)])


def told_of(call: Call, **more: Any) -> dict[str, Any]:
    """What the page gets, by way of strict JSON, which is what a browser reads."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    told: dict[str, Any] = json.loads(json.dumps(detail(call, **more)), parse_constant=refuse)
    return told


def soon(true: Callable[[], Any], seconds: float = 30) -> Any:
    """What something gives, once it gives something true."""
    end = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < end:
        time.sleep(0.05)
    assert value, "it did not come true"
    return value


# -- what the page is told ------------------------------------------------------------


def test_each_chunk_is_told_with_its_time_and_its_text() -> None:
    told = told_of(call_of(stream_of("> 进度 14..", "48..")))
    assert [(chunk["t"], chunk["text"]) for chunk in told["chunks"]] == [
        (1.0, frame("> 进度 14..").decode()),
        (2.0, frame("48..").decode()),
    ]
    assert [(each["t"], each["kind"]) for each in told["frames"]] == [(1.0, "json"), (2.0, "json")]


def test_an_event_is_told_with_the_time_at_which_it_became_certain() -> None:
    reply = stream_of("> 进", "度 14", "..", "48..", "\n\n![a](https://x.example/a", ".png)\n")
    told = told_of(call_of(reply))
    progress = [each for each in told["events"] if each["type"] == "Progress"]
    reader, certain = tickertape.ResponseReader(status_code=200), []
    for step in reply:
        if isinstance(step, Data):
            certain += [step.t for event in reader.feed(step.data) if isinstance(event, tickertape.events.Progress)]
    assert [each["t"] for each in progress] == certain
    assert told["progress"] == [[each["t"], each["fields"]["percent"]] for each in progress]


@pytest.mark.parametrize("name", gallery())
def test_the_source_of_every_event_of_a_tape_is_found_in_its_stream(name: str) -> None:
    tape = Tape.load(name)
    reply = next(each.reply for each in tape.interactions if each.is_chat)
    call = call_of(reply)
    told = told_of(call)
    raw = "".join(chunk.get("text", "") for chunk in told["chunks"])
    exact = [each for each in told["events"] if each["raw"]]
    for each in exact:
        text = "".join(raw[start:end] for start, end in each["raw"])
        assert told["content"]["text"][each["start"] : each["end"]] in (text, json.loads(f'"{text}"', strict=False))
    starts = {chunk["chunk"]: chunk for chunk in told["chunks"]}
    assert all(each["chunks"][0] in starts and each["chunks"][0] <= each["chunks"][1] for each in told["events"])
    assert told["task"] == json.loads(json.dumps(call.task.as_dict())) if call.task else told["task"] is None


def test_a_streams_events_have_exact_sources() -> None:
    told = told_of(call_of(stream_of("> 🏃 进", '度 14..48.. "x"\n\n> ✅ 生成完成\n\n![a](https://x.example/a.png)')))
    raw = "".join(chunk["text"] for chunk in told["chunks"])
    found = ["".join(json.loads(f'"{raw[start:end]}"') for start, end in each["raw"]) for each in told["events"]]
    assert "".join(found) == told["content"]["text"]


def test_only_what_the_client_was_given_is_told_and_reading_goes_on_from_there() -> None:
    reply = stream_of("> 进度 14..", "48..", "99..")
    call = call_of(reply, received=len(frame("> 进度 14..")) + 10, ended=None)
    reading = Reading(call)
    told = told_of(call, reading=reading)
    assert [chunk["size"] for chunk in told["chunks"]] == [len(frame("> 进度 14..")), 10]
    assert [percent for _, percent in told["progress"]] == [14]
    assert summary(call, reading)["percent"] == 14
    call.received, call.ended, call.ended_at = len(body_of(reply)), "eof", 103.0
    assert [percent for _, percent in told_of(call, reading=reading)["progress"]] == [14, 48, 99]
    again, anew = told_of(call, reading=reading), told_of(call)
    assert again["events"] == anew["events"]
    assert again["task"] == anew["task"]


def test_bytes_that_are_no_utf8_are_told_and_a_character_cut_in_two_is_whole() -> None:
    fox = "🦊".encode()
    reply = streamed(200, [Data(1.0, b"> " + fox[:2]), Data(2.0, fox[2:] + b"\xff")], content_type="text/plain")
    told = told_of(call_of(reply))
    assert [chunk["text"] for chunk in told["chunks"]] == ["> ", "🦊\udcff"]
    assert [chunk["size"] for chunk in told["chunks"]] == [4, 3]


def test_a_stream_of_ten_megabytes_is_told_in_part() -> None:
    reply = streamed(200, [Data(at / 100, frame("字" * 2000)) for at in range(800)])
    told = told_of(call_of(reply))
    assert len(body_of(reply)) > 9_000_000
    assert len(json.dumps(told)) < 2_000_000
    (gap,) = [chunk for chunk in told["chunks"] if "skipped" in chunk]
    assert gap["skipped"] + len(told["chunks"]) - 1 == 800
    assert told["chunks"][-1]["chunk"] == 799
    assert told["unread"] > 0


def test_a_hostile_request_is_told_as_json_in_bounds() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    body = {"model": "m" * 10_000, "nan": float("nan"), "deep": deep, "long": "y" * 100_000, "many": [0] * 10_000}
    body |= {f"key{at}": at for at in range(1000)} | {"messages": [{"role": "user", "content": "p" * 10_000_000}]}
    told = told_of(call_of(stream_of("hello"), body=body))
    assert len(json.dumps(told)) < 200_000
    assert told["request"]["json"]["nan"] == "nan"
    assert "more characters" in told["prompt"]


def test_secrets_are_not_told() -> None:
    assert "sk-tickertape" not in json.dumps(told_of(call_of(stream_of("hello"))))


def test_a_picture_is_told_by_its_first_bytes() -> None:
    data, content_type = media_file("image", number=1)
    told = told_of(call_of(whole(200, data, content_type=content_type), kind="media", role="result"))
    assert told["opaque"] == "media (image/png)"
    assert bytes.fromhex(told["bytes"]) == data[:256]
    assert told["chunks"][0]["text"] == ""


def test_pictures_in_the_request_and_in_the_answer_are_decoded_and_documents_are_not_shown() -> None:
    page = "data:text/html,<script>alert(1)</script>"
    content = [{"type": "image_url", "image_url": {"url": url}} for url in (PICTURE, page, "data:image/png;base64,!")]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    call = call_of(
        stream_of(f"![a]({PICTURE.replace('png', 'webp', 1)})\n\n![b](https://cdn.example/b.png)\n"), body=body
    )
    told = told_of(call)
    assert [(each["role"], each["shown"]) for each in told["media"]] == [
        ("input", True),
        ("input", False),
        ("input", False),
        ("result", True),
        ("result", False),
    ]
    assert medium_of(call, told["media"][0]["key"], None) == (media_file("image", number=4242)[0], "image/png")
    assert medium_of(call, told["media"][1]["key"], None) is None
    assert "not fetched" in told["media"][4]["note"]


# -- over HTTP --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started() -> Iterator[RelayServer]:
    server = RelayServer(strict=False)
    server.start()
    yield server
    server.close()


@pytest.fixture
def server(started: RelayServer) -> RelayServer:
    started.reset(speed=0.0, seed=0)
    started.answer_all(None)
    return started


def chat(server: RelayServer, prompt: Any = "a cat", **more: Any) -> httpx.Response | None:
    """A chat request that is read as far as there is something to read."""
    body = {"model": "gpt-image-1.5", "stream": True, "messages": [{"role": "user", "content": prompt}], **more}
    try:
        return httpx.post(f"{server.base_url}/chat/completions", json=body, headers=KEY, timeout=60)
    except httpx.HTTPError:
        return None


def told_by(server: RelayServer, number: int) -> dict[str, Any]:
    response = httpx.get(f"{server.url}{PAGE}calls/{number}")
    assert response.status_code == 200
    told: dict[str, Any] = response.json()
    return told


def test_browsers_get_the_page_and_programs_the_index(server: RelayServer) -> None:
    shown = httpx.get(server.url + PAGE, headers=HTML)
    assert shown.headers["content-type"].startswith("text/html")
    assert "no-store" in shown.headers["cache-control"]
    told = httpx.get(server.url + PAGE)
    assert told.json()["base_url"] == server.base_url
    assert told.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (HTML["accept"], True),
        ("text/html", True),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=high, */*;q=0.1", False),
        ("text/html;q=0", False),
    ],
)
def test_the_page_is_for_who_prefers_html(accept: str, is_page: bool) -> None:
    assert _prefers_html(accept) is is_page


def test_the_page_runs_what_stands_in_it_and_speaks_to_nobody_else(server: RelayServer) -> None:
    document, policy = page()
    assert httpx.get(server.url + PAGE, headers=HTML).headers["content-security-policy"] == policy
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == directives["media-src"] == "'self'"
    assert "unsafe" not in policy
    text = document.decode()
    assert len(document) < 60_000
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "a handler in an attribute would not run"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert set(re.findall(r"https?://[^\s\"'/]+", text)) <= {"http://www.w3.org"}, "only the names of namespaces"


def test_looking_leaves_no_trace_in_the_journal_and_takes_nothing_from_a_tape(server: RelayServer) -> None:
    server.play(Scenario.image("a cat", n=2).progress(14))
    chat(server)
    told = told_by(server, 1)
    assert [each["shown"] for each in told["media"]] == [True, True]
    for each in told["media"]:
        shown = httpx.get(f"{server.url}{PAGE}calls/1/media/{each['key']}")
        assert shown.content == httpx.get(each["url"]).content
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-security-policy"].startswith("sandbox")
    assert [call.kind for call in server.calls] == ["chat", "media", "media"]
    told_by(server, 2)
    httpx.get(server.url + PAGE, headers=HTML)
    assert len(server.calls) == 3


def test_a_part_of_a_medium_can_be_asked_for(server: RelayServer) -> None:
    server.play("sora-2/kite-festival")
    chat(server)
    key = next(each["key"] for each in told_by(server, 1)["media"] if each["kind"] == "video")
    part = httpx.get(f"{server.url}{PAGE}calls/1/media/{key}", headers={"range": "bytes=0-3"})
    assert part.status_code == 206
    assert len(part.content) == 4


def test_links_that_were_left_as_recorded_are_not_shown(server: RelayServer) -> None:
    server.reset(rewrite_links=False)
    server.play("sora-2/kite-festival")
    chat(server)
    told = told_by(server, 1)
    assert told["media"]
    assert not any(each["shown"] for each in told["media"])
    server.reset(rewrite_links=True)


@pytest.mark.parametrize("path", ["calls/0", "calls/2", "calls/x", "calls/1/media/0123", "calls/99999999999999999999"])
def test_what_is_not_there_is_not_found(server: RelayServer, path: str) -> None:
    server.play(Scenario.image("a cat"))
    chat(server)
    response = httpx.get(server.url + PAGE + path)
    assert response.status_code == 404
    assert response.json()["error"]["message"]


def test_findings_are_told_with_the_calls_they_name(server: RelayServer) -> None:
    server.fail(status=429, retry_after=30)
    server.play(Scenario.image("a cat"))
    chat(server)
    chat(server)
    assert [each["name"] for each in told_by(server, 2)["findings"]] == ["retry_after_ignored"]


def test_calls_of_a_session_are_told_in_that_session(server: RelayServer) -> None:
    session = server.session("worker-1")
    session.play(Scenario.image("a cat"))
    httpx.post(f"{session.base_url}/chat/completions", json={"model": "m", "messages": []}, headers=KEY)
    assert httpx.get(f"{server.url}{PAGE}calls/1?session=worker-1").status_code == 200
    assert httpx.get(f"{server.url}{PAGE}calls/1").status_code == 404


# -- in a browser -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no chromium and chromedriver here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here: pip install selenium")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,860",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


class Browser:
    """What a test says to the page."""

    def __init__(self, driver: Chrome, server: RelayServer) -> None:
        self.driver = driver
        self.server = server

    def open(self, fragment: str = "", *, width: int = 1280, height: int = 860, dark: bool = False) -> None:
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.driver.get("about:blank")  # only a fragment would load nothing
        self.driver.get(self.server.url + PAGE + fragment)
        self.js("localStorage.clear()")
        soon(lambda: self.js("return settled"))

    def command(self, name: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(name, parameters)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def count(self, selector: str) -> int:
        return int(self.js("return document.querySelectorAll(arguments[0]).length", selector))

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.driver).send_keys(getattr(Keys, key, key)).perform()

    def shows(self, number: int) -> None:
        soon(lambda: self.text("#title").startswith(f"Call {number}:"))

    def lists(self, words: str) -> None:
        soon(lambda: words in self.text("#list"))

    def picture(self, name: str) -> None:
        folder = os.environ.get("TICKERTAPE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            from PIL import Image

            shot = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
            shot.quantize(255, kmeans=2, dither=Image.Dither.NONE).save(Path(folder) / f"{name}.png", optimize=True)


@pytest.fixture
def browser(chrome: Chrome, server: RelayServer) -> Iterator[Browser]:
    browser = Browser(chrome, server)
    yield browser
    logs = [each["message"] for each in chrome.get_log("browser")]  # type: ignore[no-untyped-call]
    chrome.get("about:blank")  # the feed ends before the next test's reset
    assert not [each for each in logs if "net::ERR" not in each], "an error, or a breach of the policy"


def a_day(server: RelayServer) -> None:
    """Some of everything."""
    server.fail(status=429, retry_after=2)
    server.play(Scenario.image("a lighthouse at dusk", n=2).queue(2).progress(7, 14, 31, 48, 66, 83, 99).pace(3))
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    chat(server, "a lighthouse at dusk, seen from the sea")
    chat(server, [{"type": "text", "text": "a lighthouse at dusk, seen from the sea"}, picture])
    task = server.calls.last.task
    assert task is not None
    for result in task.results:
        httpx.get(result.url)
    server.play("sora-2/lighthouse-remix")
    chat(server, "add fog, same camera", model="sora-2")
    server.play(
        Scenario.video("a kite festival").dialect("veo3").queue(2).progress(10, 40, 70).fail("input_moderation")
    )
    chat(server, "a kite festival on a windy beach", model="veo3")
    server.play(Scenario.image("风筝").progress(20, 60), fault=Fault.reset(event=("Progress", 2)))
    chat(server, "风筝节，海边")
    httpx.get(f"{server.base_url}/models", headers=KEY)
    server.play(Scenario.image("a cat"))


def test_a_stream_is_shown_while_it_runs(browser: Browser) -> None:
    server = browser.server
    server.reset(speed=4.0)
    server.play(Scenario.image("a cat").progress(14, 48, 99).pace(3))
    browser.open()
    assert browser.text("#blank-title") == "Nothing has been asked yet"
    asking = threading.Thread(target=chat, args=(server,))
    asking.start()
    browser.shows(1)
    assert "completed" not in browser.text("#call .chips")
    seen = set()

    def ended() -> bool:
        seen.update(re.findall(r"(\d+) %", browser.text("#list .s")))
        return "completed" in browser.text("#call .chips")

    soon(ended)
    asking.join()
    assert seen & {"14", "48"}, "the percentages were shown while it ran"
    assert "3 percentages: 14 %" in str(browser.js("return document.querySelector('svg').getAttribute('aria-label')"))
    soon(lambda: browser.js("return document.querySelector('#call figure img')?.naturalWidth > 0"))
    assert "completed" in browser.text("#say")
    server.reset(speed=0.0)


def test_what_a_journal_holds_is_shown_in_light_in_dark_and_on_a_phone(browser: Browser) -> None:
    a_day(browser.server)
    shown = len(browser.server.calls)
    for name, width, dark in (
        ("inspector", 1280, False),
        ("inspector-dark", 1280, True),
        ("inspector-phone", 360, False),
    ):
        browser.open("#call=2", width=width, height=860 if width > 500 else 780, dark=dark)
        browser.shows(2)
        soon(lambda: "1 finding" in browser.text("#word"))
        soon(
            lambda: browser.js("return document.images.length == 3 && [...document.images].every(i => i.naturalWidth)")
        )
        assert browser.count("#list li") == shown
        assert browser.js("return document.documentElement.scrollWidth") <= width
        wide = browser.js(
            "return [...document.querySelectorAll('body *')]"
            ".filter(n => n.getBoundingClientRect().right > innerWidth + 1)"
            ".filter(n => !n.closest('.sr, .pane, svg, .json, dialog'))"
            ".map(n => n.outerHTML.slice(0, 80))"
        )
        assert wide == []
        browser.picture(name)
        if dark:
            browser.js("[...document.querySelectorAll('.events tr:not(.minor) button')][8].focus()")
            browser.js("document.getElementById('detail').scrollTop = 1e6")
            browser.picture("inspector-stream")
    assert len(browser.server.calls) == shown, "the page is in no journal"
    assert browser.server.session("").unmatched == []


def test_the_source_of_an_event_is_marked_in_the_stream(browser: Browser) -> None:
    browser.server.play(Scenario.image("a cat 🦊").progress(14, 48))
    chat(browser.server)
    browser.open()
    browser.shows(1)
    marked = "return [...(CSS.highlights.get('source') || [])].map(String).join('')"
    for view, expected in (("raw", "14.."), ("text", "14..")):
        browser.js(f"document.querySelector('[name=view][value={view}]').click()")
        browser.js(
            "document.activeElement.blur();"
            "[...document.querySelectorAll('.events button')].find(b => b.textContent == 'Progress').focus()"
        )
        assert browser.js(marked).endswith(expected)
    browser.press("ARROW_DOWN")
    assert browser.js(marked) == "48.."
    assert browser.count(".events tr.now") == 1
    assert "[object" not in str(browser.js("return document.getElementById('call').textContent"))
    assert "text/event-stream" in str(browser.js("return document.getElementById('call').textContent"))
    browser.js("document.querySelector('[name=view][value=frames]').click()")
    assert browser.count(".chunk") > 5


def test_the_page_is_worked_with_keys_alone(browser: Browser) -> None:
    for number in range(4):
        browser.server.play(Scenario.image("a cat").progress(10 * number))
        chat(browser.server, f"cat {number}")
    browser.open()
    browser.shows(4)
    browser.press("j")
    browser.shows(3)
    assert browser.js("return document.querySelector('#list [aria-current]').innerText").split()[1] == "3"
    browser.press("k")
    browser.shows(4)
    browser.js("document.querySelector('#list [aria-current]').focus()")
    browser.press("ARROW_DOWN")
    browser.press("ARROW_DOWN")
    browser.shows(2)
    assert browser.js("return document.activeElement.closest('#list') !== null")
    browser.press("/")
    browser.press("2")
    assert browser.js("return document.activeElement.id") == "filter"
    soon(lambda: browser.count("#list li:not([hidden])") < 4 or browser.text("#count") == "4 calls")
    browser.press("ESCAPE")
    browser.press("e")
    assert browser.js("return document.activeElement.closest('.events') !== null")
    browser.press("?")
    assert browser.js("return document.getElementById('keys').open")
    browser.press("ESCAPE")
    browser.press("v")
    assert browser.js("return document.getElementById('verdict').open")
    browser.press("t")
    assert browser.js("return document.documentElement.dataset.theme") == "light"
    browser.js("document.getElementById('single').click()")
    browser.press("t")
    assert browser.js("return document.documentElement.dataset.theme") == "light", "single keys can be turned off"


def test_hostile_content_is_text(browser: Browser) -> None:
    server = browser.server
    answer = (
        f"> 进度 14..\n\n{HOSTILE}\n\n![{HOSTILE}](javascript:alert(1))\n\n[{HOSTILE}](https://evil.example/x.mp4)\n"
    )
    server.play(Tape.loads(body_of(stream_of(*answer.splitlines(keepends=True))), suffix=".sse", name=HOSTILE))
    chat(server, HOSTILE, model=HOSTILE)
    httpx.get(f"{server.url}/<script>window.pwned=1</script>", headers={**KEY, "x-evil": "<img src=x onerror=pwned=1>"})
    browser.open("#call=1")
    browser.shows(1)
    browser.js("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.js("return window.pwned") is None
    assert browser.count("script") == 1
    assert browser.count("img:not([src^='calls/'])") == 0
    assert browser.count("a[href^='javascript'], [src^='http'], [style*='url']") == 0
    assert "<script>window.pwned=1</script>" in browser.text("#call")
    shown = str(
        browser.js("return document.body.textContent.replace(document.querySelector('body > script').textContent, '')")
    )
    assert not set("\u202e\u2066\x07") & set(shown)
    assert "U+202E" in shown


def test_no_other_host_is_asked(browser: Browser) -> None:
    browser.server.play("sora-2/lighthouse-remix")
    chat(
        browser.server,
        [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://evil.example/a.png"}}],
    )
    browser.driver.get_log("performance")  # type: ignore[no-untyped-call]
    browser.open()
    browser.shows(1)
    soon(lambda: browser.count("#call figure video"))
    soon(lambda: browser.js("return document.querySelector('#call figure video').readyState > 0"))
    entries = browser.driver.get_log("performance")  # type: ignore[no-untyped-call]
    sent = [json.loads(entry["message"])["message"] for entry in entries]
    asked = [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
    elsewhere = [url for url in asked if not url.startswith((browser.server.url + "/", "data:image/svg", "about:"))]
    assert any("/media/" in url for url in asked)
    assert elsewhere == []
    assert [call.kind for call in browser.server.calls] == ["chat"], "nor the relay itself"


CONTRAST = """
const rgb = (color) => {
  const pen = document.createElement('canvas').getContext('2d');
  pen.fillStyle = color;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
const says = (node) => [...node.childNodes].some((child) => child.nodeType == 3 && child.data.trim());
const faint = [];
for (const node of document.querySelectorAll('body *')) {
  if (node.closest('svg, script, .sr, .nl, [hidden]') || !says(node) || !node.checkVisibility()) continue;
  let back = node;
  while (back.parentElement && rgb(getComputedStyle(back).backgroundColor)[3] < 255) back = back.parentElement;
  const a = light(rgb(getComputedStyle(node).color)), b = light(rgb(getComputedStyle(back).backgroundColor));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) faint.push([node.outerHTML.slice(0, 80), ratio]);
}
return faint;
"""
"""What has less contrast than WCAG 2.2, 1.4.3 asks for."""
NAMES = """
const named = (node) => node.getAttribute('aria-label') || node.labels?.length || node.innerText || node.alt
  || document.getElementById(node.getAttribute('aria-labelledby'));
const all = 'a, button, select, input, img, video, audio, summary, svg, [role], nav, main, dialog, [tabindex="0"]';
return [...document.querySelectorAll(all)]
  .filter((node) => node.checkVisibility() && !node.matches('#say, pre') && !named(node))
  .map((node) => node.outerHTML.slice(0, 80));
"""
"""What a screen reader has no name for."""


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_and_has_a_name(browser: Browser, dark: bool) -> None:
    a_day(browser.server)
    browser.open("#call=2", dark=dark)
    browser.shows(2)
    browser.js("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.js("[...document.querySelectorAll('.events tr:not(.minor) button')][8].focus()")
    soon(lambda: "finding" in browser.text("#word"))
    assert browser.js(CONTRAST) == []
    assert browser.js(NAMES) == []
    assert [browser.count(each) for each in ("main", "nav", "header", "h1")] == [1, 1, 1, 1]
    assert browser.js("return document.documentElement.lang") == "en"
    ids = browser.js("return [...document.querySelectorAll('[id]')].map(n => n.id)")
    assert len(ids) == len(set(ids))


def test_sessions_are_chosen_and_filters_narrow_the_list(browser: Browser) -> None:
    session = browser.server.session("worker-1")
    session.play(Scenario.image("a dog"))
    chat_in = {"model": "m", "messages": [{"role": "user", "content": "a dog"}]}
    httpx.post(f"{session.base_url}/chat/completions", json=chat_in, headers=KEY)
    browser.server.play(Scenario.image("a cat"), times=3)
    for prompt in ("red", "green", "blue"):
        chat(browser.server, prompt)
    browser.open()
    browser.js("const f = document.getElementById('filter'); f.value = 'green'; f.dispatchEvent(new Event('input'))")
    soon(lambda: browser.text("#count") == "1 of 3 calls")
    browser.js("const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    soon(lambda: browser.count("#session option") == 2)
    browser.js(
        "const s = document.getElementById('session'); s.value = 'worker-1'; s.dispatchEvent(new Event('change'))"
    )
    soon(lambda: browser.text("#count") == "1 call" and "a dog" in browser.text("#call"))
    assert "worker-1" in browser.text("#base")


def test_a_reset_empties_the_page_and_what_comes_after_is_shown(browser: Browser) -> None:
    for name in ("", "worker-2"):
        session = browser.server.session(name)
        session.play(Scenario.image("a cat"))
        told = {"model": "m", "messages": [{"role": "user", "content": "before"}]}
        httpx.post(f"{session.base_url}/chat/completions", json=told, headers=KEY)
        browser.open(f"#session={name}" if name else "")
        soon(lambda: browser.text("#count") == "1 call")
        # A picture that is still on its way when its call is forgotten is not found: an error on the console.
        soon(lambda: browser.js("return document.images.length > 0 && [...document.images].every(i => i.complete)"))
        httpx.post(f"{browser.server.url}{PAGE}reset", headers={"x-tickertape-session": name} if name else {})
        soon(lambda: browser.text("#count") == "no calls")
        session = browser.server.session(name)
        session.play(Scenario.image("a cat"))
        told["messages"] = [{"role": "user", "content": "afterwards"}]
        httpx.post(f"{session.base_url}/chat/completions", json=told, headers=KEY)
        soon(lambda: "afterwards" in browser.text("#call"))


def test_a_call_that_the_journal_drops_leaves_the_list(chrome: Chrome) -> None:
    with RelayServer(keep=2, strict=False) as server:
        browser = Browser(chrome, server)
        browser.open()
        server.play(Scenario.image("a cat"), times=None)
        for number in range(1, 5):
            body = {"model": "m", "messages": [{"role": "user", "content": f"cat {number}"}]}
            httpx.post(f"{server.base_url}/chat/completions", json=body, headers=KEY)
            browser.lists(f"cat {number}")
        soon(lambda: browser.text("#count") == "2 calls")
        assert "cat 2" not in browser.text("#list")
        chrome.get("about:blank")


def test_hundreds_of_calls_are_shown_and_stay_at_hand(browser: Browser) -> None:
    browser.server.play(Scenario.image("a cat"), times=400)
    body = {"model": "m", "messages": [{"role": "user", "content": "a cat"}]}
    with httpx.Client(headers=KEY) as client:
        for _ in range(400):
            client.post(f"{browser.server.base_url}/chat/completions", json=body)
    browser.open()
    soon(lambda: browser.text("#count") == "400 calls")
    browser.shows(400)
    browser.press("j")
    browser.shows(399)
    assert browser.js("return document.querySelectorAll('*').length") < 6_500


def test_a_long_stream_is_shown_in_part_and_says_so(browser: Browser) -> None:
    server = browser.server
    long = stream_of(*["字" * 2000] * 800)
    server.play(Tape.loads(body_of(long), suffix=".sse", name="long"))
    chat(server)
    browser.open()
    browser.shows(1)
    assert "its middle is left out" in browser.text("#call")
    assert "were not read for events" in browser.text("#call")
    assert browser.js("return document.body.textContent.length") < 600_000
