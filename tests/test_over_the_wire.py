"""Real clients against the relay on loopback: each streams, reads progress, downloads the media.

What they see is, byte for byte, what a client in process is given. Clients that are
not installed beside the others are in `tests/clients`, and run by nox.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx2
import openai
import pytest
import requests

import tickertape
from tickertape.testing import Tape
from tickertape.testing._wire import body_of

from .clients.loopback import ASK, CAT, KEY, STREAM, Reader, Seen, in_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape.testing import RelayServer

NODE = Path(__file__).parent / "clients" / "node"


# -- clients of this process -------------------------------------------------------------


def by_httpx(module: Any) -> Callable[[str], Seen]:
    def client(base_url: str) -> Seen:
        reader = Reader()
        with module.Client(headers=KEY, timeout=20) as http:
            with http.stream("POST", f"{base_url}/chat/completions", json=STREAM) as response:
                for piece in response.iter_raw():
                    reader.feed(piece)
            reader.seen.media = [http.get(url).content for url in reader.urls()]
        return reader.seen

    return client


def by_requests(base_url: str) -> Seen:
    reader = Reader()
    with requests.Session() as session:
        with session.post(
            f"{base_url}/chat/completions", json=STREAM, headers=KEY, stream=True, timeout=20
        ) as response:
            for piece in response.iter_content(None):
                reader.feed(piece)
        reader.seen.media = [session.get(url, timeout=20).content for url in reader.urls()]
    return reader.seen


def by_urllib(base_url: str) -> Seen:
    reader, data = Reader(), json.dumps(STREAM).encode()
    headers = {**KEY, "content-type": "application/json"}
    request = urllib.request.Request(f"{base_url}/chat/completions", data, headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        while piece := response.read1(100):
            reader.feed(piece)
    for url in reader.urls():
        with urllib.request.urlopen(url, timeout=20) as response:
            reader.seen.media.append(response.read())
    return reader.seen


def by_aiohttp(base_url: str) -> Seen:
    async def main() -> Seen:
        reader = Reader()
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{base_url}/chat/completions", json=STREAM, headers=KEY) as response:
                async for piece in response.content.iter_any():
                    reader.feed(piece)
            for url in reader.urls():
                async with session.get(url) as response:
                    reader.seen.media.append(await response.read())
        return reader.seen

    return asyncio.run(main())


def by_openai(base_url: str) -> Seen:
    reader = Reader()
    with openai.OpenAI(base_url=base_url, api_key="sk-test", timeout=20) as client:
        with client.chat.completions.with_streaming_response.create(**STREAM) as response:
            for piece in response.iter_bytes():
                reader.feed(piece)
        reader.seen.media = [httpx.get(url).content for url in reader.urls()]
    return reader.seen


CLIENTS: dict[str, Callable[[str], Seen]] = {
    "httpx": by_httpx(httpx),
    "httpx2": by_httpx(httpx2),
    "requests": by_requests,
    "urllib": by_urllib,
    "aiohttp": by_aiohttp,
    "openai": by_openai,
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_client_sees_on_the_wire_what_a_client_sees_in_process(
    client: Callable[[str], Seen], relay_server: RelayServer
) -> None:
    relay_server.play(CAT)
    expected = in_process(relay_server.url)
    assert client(relay_server.base_url) == expected
    assert expected.progress == [14, 48]
    assert len(expected.media) == 2
    assert [(call.kind, call.ended) for call in relay_server.calls] == [("chat", "eof"), *2 * [("media", "eof")]]
    relay_server.assert_well_behaved()


@pytest.mark.parametrize(
    "name", ["gpt-image-1.5/cat-drinking-milk", "sora-2/kite-festival", "gpt-image-1/input-moderation"]
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_tape_is_on_the_wire_what_it_is_in_process(name: str, stream: bool, relay_server: RelayServer) -> None:
    relay_server.reset(rewrite_links=False)
    relay_server.play(name)
    there = requests.post(
        f"{relay_server.base_url}/chat/completions", json={**ASK, "stream": stream}, headers=KEY, timeout=20
    )
    assert there.content == body_of(Tape.load(name).reply(stream=stream))


# -- HTTP ------------------------------------------------------------------------------------


def raw(relay_server: RelayServer, version: str, *headers: str, stream: bool) -> tuple[bytes, bytes]:
    """Head and body of an answer, as they are until the server closes the connection."""
    data = json.dumps({**ASK, "stream": stream}).encode()
    lines = [f"POST /v1/chat/completions HTTP/{version}", "host: x", "authorization: Bearer sk-test", *headers]
    request = "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data
    address = urlsplit(relay_server.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as client:
        client.sendall(request)
        got = b""
        while piece := client.recv(65536):
            got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_of_http_1_0_gets_no_chunks(relay_server: RelayServer, stream: bool) -> None:
    relay_server.reset(rewrite_links=False)
    relay_server.play("gpt-image-1.5/cat-drinking-milk")
    head, body = raw(relay_server, "1.0", stream=stream)
    assert b"transfer-encoding" not in head
    assert body == body_of(Tape.load("gpt-image-1.5/cat-drinking-milk").reply(stream=stream))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_closes_after_one_answer_gets_all_of_it(relay_server: RelayServer, stream: bool) -> None:
    relay_server.play(CAT)
    head, body = raw(relay_server, "1.1", "connection: close", stream=stream)
    assert b"connection: close" in head
    assert (b"transfer-encoding: chunked" in head) == stream
    assert body.endswith(b"\r\n0\r\n\r\n" if stream else b"}")
    assert len(body) >= relay_server.calls.last.received > 100
    assert relay_server.calls.last.ended == "eof"


def test_an_answer_has_the_headers_of_the_tape_and_lets_pages_read_it(relay_server: RelayServer) -> None:
    tape = Tape.loads(
        '{"tape": 1, "title": "x"}\n{"response": {"status": 200, "headers": {"content-type": "application/json", '
        '"Server": "cloudflare", "date": "Sat, 22 Nov 2025 12:00:00 GMT"}}}\n'
        '{"t": 0, "data": "{\\"choices\\": [{\\"message\\": {\\"content\\": \\"> 生成中.\\"}}]}"}\n'
        '{"t": 0, "end": "eof"}\n'
    )
    relay_server.play(tape)
    head, _ = raw(relay_server, "1.1", "connection: close", stream=False)
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n")[1:]]
    cors = ["access-control-allow-origin", "access-control-expose-headers"]
    assert names == ["server", "content-type", "date", *cors, "transfer-encoding", "connection"]
    assert b"server: cloudflare" in head


# -- curl ----------------------------------------------------------------------------------


def curl(*arguments: str) -> bytes:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl here")
    command = [program, "--silent", "--show-error", "--fail", "--no-buffer", "--noproxy", "*", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout


def test_curl_sees_what_a_client_sees_in_process(relay_server: RelayServer) -> None:
    relay_server.play(CAT)
    expected = in_process(relay_server.url)
    reader = Reader()
    key = f"authorization: {KEY['authorization']}"
    reader.feed(curl("-H", key, "--json", json.dumps(STREAM), f"{relay_server.base_url}/chat/completions"))
    reader.seen.media = [curl(url) for url in reader.urls()]
    assert reader.seen == expected


def test_curl_steers_the_relay(relay_server: RelayServer) -> None:
    controls = f"{relay_server.url}/__tickertape__"
    curl("--json", '{"tape": "sora-2/kite-festival"}', f"{controls}/play")
    key = f"authorization: {KEY['authorization']}"
    answer = curl("-H", key, "--json", json.dumps(ASK), f"{relay_server.base_url}/chat/completions")
    assert tickertape.parse_response(answer).results[0].kind == "video"
    assert json.loads(curl(f"{controls}/verdict"))["passed"] is True


# -- Node ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node here")
    return program


def run_node(node: str, script: Path, *flags: str, **environment: str) -> str:
    # Without the environment's proxy: Node 24 would take it for loopback too.
    inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    ran = subprocess.run(
        [node, *flags, script.name],
        cwd=script.parent,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_openai_sdk_of_node_sees_what_a_client_sees_in_process(
    node: str, relay_server: RelayServer, request: pytest.FixtureRequest
) -> None:
    folder, npm = request.config.cache.mkdir("node"), shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here")
    for name in ("package.json", "client.mjs"):
        shutil.copy(NODE / name, folder)
    if not (folder / "node_modules" / "openai").is_dir():
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=0"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=45)
        except subprocess.TimeoutExpired:
            pytest.skip("npm does not get the openai SDK in time")
        if done.returncode:
            pytest.skip(f"npm cannot get the openai SDK: {done.stderr.strip()[-200:]}")
    relay_server.play(CAT)
    told = json.loads(
        run_node(node, folder / "client.mjs", OPENAI_BASE_URL=relay_server.base_url, OPENAI_API_KEY="sk-test")
    )
    seen = Seen(base64.b64decode(told["body"]), told["progress"], [base64.b64decode(each) for each in told["media"]])
    # The script takes the first link of each result, which is the one to download it by.
    assert seen == in_process(relay_server.url)
    relay_server.assert_well_behaved()


def test_a_suite_of_node_steers_the_relay_and_reads_its_verdict(node: str, relay_server: RelayServer) -> None:
    told = run_node(node, NODE / "suite.mjs", "--test", RELAY_URL=relay_server.url)
    assert "pass 1" in told
    assert len(relay_server.calls) == 0, "it has a session of its own"


# -- a browser -----------------------------------------------------------------------------

FETCH = """
const [base, body, done] = arguments;
const base64 = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
(async () => {
  const headers = {authorization: "Bearer sk-test", "content-type": "application/json"};
  const response = await fetch(base + "/chat/completions", {method: "POST", headers, body});
  const pieces = [], decoder = new TextDecoder(), progress = [];
  let text = "", content = "";
  for (const reader = response.body.getReader();;) {
    const {value, done} = await reader.read();
    if (done) break;
    pieces.push(value);
    text += decoder.decode(value, {stream: true});
    for (let at; (at = text.indexOf("\\n\\n")) >= 0; text = text.slice(at + 2)) {
      const data = text.slice(0, at).replace(/^data: /, "");
      if (data === "[DONE]") continue;
      content += JSON.parse(data).choices[0]?.delta?.content ?? "";
      const [percent] = content.match(/(?<=(?:进度|\\.\\.)\\s*)\\d+(?=\\.\\.$)/) ?? [];
      if (percent && progress.at(-1) !== Number(percent)) progress.push(Number(percent));
    }
  }
  const links = [...content.matchAll(/\\((http[^)]+\\/cdn\\/[^)]+)\\)/g)].map(([, url]) => url);
  const media = await Promise.all(links.map(async (url) => base64(await (await fetch(url)).arrayBuffer())));
  done({body: base64(await new Blob(pieces).arrayBuffer()), progress, media, origin: location.origin});
})().catch((error) => done({error: String(error)}));
"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page of another origin."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>an app</title>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def test_a_page_of_another_origin_sees_what_a_client_sees_in_process(
    relay_server: RelayServer, elsewhere: str, tmp_path: Path
) -> None:
    webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--no-proxy-server", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    relay_server.play(CAT)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.set_script_timeout(20)
        browser.get(elsewhere)
        told = browser.execute_async_script(FETCH, relay_server.base_url, json.dumps(STREAM))
    finally:
        browser.quit()
    assert "error" not in told, told["error"]
    assert told["origin"] == elsewhere
    seen = Seen(base64.b64decode(told["body"]), told["progress"], [base64.b64decode(each) for each in told["media"]])
    assert seen == in_process(relay_server.url)


# -- as a new user ---------------------------------------------------------------------------

QUICKSTART = """
from openai import OpenAI

client = OpenAI()

completion = client.chat.completions.create(
    model="gpt-5.2",
    messages=[
        {"role": "developer", "content": "Talk like a pirate."},
        {
            "role": "user",
            "content": "How do I check if a Python object is an instance of a class?",
        },
    ],
)

print(completion.choices[0].message.content)

stream = client.chat.completions.create(
    model="gpt-5.2", messages=[{"role": "user", "content": "Write a one-sentence story."}], stream=True
)
for event in stream:
    print(event.choices[0].delta.content if event.choices else "", end="", flush=True)
"""


def test_one_command_and_then_the_sdks_own_quickstart() -> None:
    command = [sys.executable, "-W", "error", "-m", "tickertape", "serve", "--speed", "0"]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "PYTHONIOENCODING": "utf-8", "NO_PROXY": "*"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    ) as served:
        assert served.stdout is not None
        try:
            ready = served.stdout.readline().strip()
            assert ready, served.stderr.read() if served.stderr else ""
            quickstart = subprocess.run(
                [sys.executable, "-c", QUICKSTART],
                env={**environment, "OPENAI_BASE_URL": ready},
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=30,
            )
        finally:
            served.terminate()
        out, err = served.communicate(timeout=20)
    assert (quickstart.returncode, quickstart.stderr) == (0, "")
    assert quickstart.stdout.count("点击下载") + quickstart.stdout.count("![") == 2
    assert "instance of a class?" in quickstart.stdout, "the prompt of the request is what is drawn"
    if sys.platform != "win32":
        assert (served.returncode, out, err) == (0, "", "")
