"""What the server on loopback must not let happen, and its controls."""

from __future__ import annotations

import http.client
import inspect
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

import tickertape
from tickertape.testing import Fault, Scenario, Tape
from tickertape.testing._control import ROUTES, openapi
from tickertape.testing._facts import Interaction
from tickertape.testing._orders import FAULTS, STEPS, WHEN, fault, scenario
from tickertape.testing._wire import whole
from tickertape.testing.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = {"authorization": "Bearer sk-tickertape"}
BODY = {"model": "m", "messages": [{"role": "user", "content": "a cat"}]}
CONTROL = "/__tickertape__"


@pytest.fixture(scope="module")
def started() -> Iterator[RelayServer]:
    server = RelayServer(max_body=2 << 20)
    server.start()
    yield server
    server.close()


@pytest.fixture
def server(started: RelayServer) -> RelayServer:
    started.reset(tapes=None)
    return started


def control(server: RelayServer, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, server.url + CONTROL + path, json=body, headers=sent)


def chat(server: RelayServer, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{server.base_url}/chat/completions", json=BODY, headers={**KEY, **sent})


def raw(server: RelayServer, request: bytes) -> bytes:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as sock:
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
        return data


# -- who may steer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "",
        "[::1]",
        "127.0.0.1:{port}@x",
    ],
)
def test_a_foreign_host_may_not_use_the_controls(server: RelayServer, host: str) -> None:
    host = host.format(port=urlsplit(server.url).port)
    for method, path, _ in ROUTES:
        response = control(server, method, path, None, host=host)
        assert response.status_code == 403, path
        assert "Host" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_a_foreign_origin_may_not_use_the_controls(server: RelayServer, origin: str) -> None:
    origin = origin.format(port=urlsplit(server.url).port)
    for method, path, _ in ROUTES:
        response = control(server, method, path, None, origin=origin)
        assert response.status_code == 403, path
        assert "access-control-allow-origin" not in response.headers
    assert control(server, "OPTIONS", "/play", None, origin=origin).status_code == 403


def test_two_hosts_or_none_are_no_host(server: RelayServer) -> None:
    port = urlsplit(server.url).port
    two = f"GET {CONTROL}/tapes HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
    assert raw(server, two.encode()).split()[1] in (b"400", b"403")
    none = f"GET {CONTROL}/tapes HTTP/1.0\r\n\r\n"
    assert raw(server, none.encode()).split()[1] == b"403"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_the_servers_own_names_may_use_the_controls(server: RelayServer, host: str) -> None:
    host = host.format(port=urlsplit(server.url).port)
    assert control(server, "GET", "/tapes", None, host=host).status_code == 200
    assert control(server, "GET", "/tapes", None, host=host, origin=f"http://{host}").status_code == 200


def test_the_controls_are_not_reached_by_another_spelling(server: RelayServer) -> None:
    """What is no control call goes to the relay, which knows none."""
    server.play(Scenario.image("a cat"), optional=True)
    for path in [
        "//__tickertape__/journal",
        "/v1/../__tickertape__/journal",
        "/%5F_tickertape__/journal",
        "/__TICKERTAPE__/journal",
    ]:
        head = f"GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
        answer = raw(server, head.encode())
        assert answer.split()[1] in (b"403", b"404"), path
        assert b'"calls"' not in answer


def test_it_listens_on_loopback_only(server: RelayServer) -> None:
    port = urlsplit(server.url).port or 0
    others = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        if not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                socket.create_connection((address, port), timeout=2)
    # The same port on another loopback address is free: it is not bound to all of them.
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", port))


def test_another_address_must_be_named() -> None:
    with RelayServer(host="127.0.0.3") as server:
        assert server.url.startswith("http://127.0.0.3:")
        assert control(server, "GET", "/tapes").status_code == 200


# -- what comes in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "..\\secret",
        "C:/secret",
        "a//b",
        "a\0b",
        "link/secret",
        "",
        "x" * 500,
        "./secret",
        "%2e%2e/secret",
    ],
)
def test_a_tape_is_a_name_and_no_path(server: RelayServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text("> ID: `task_1`\n")
    (tmp_path / "tapes").mkdir()
    (tmp_path / "tapes" / "link").symlink_to(tmp_path)
    server.reset(tapes=tmp_path / "tapes")
    answer = control(server, "POST", "/play", {"tape": name})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "no_tape"
    assert "task_1" not in answer.text


def test_a_path_to_an_existing_tape_is_no_name(
    server: RelayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Tape.load` takes a path relative to where the server runs; a control call may not."""
    (tmp_path / "here.md").write_text("> ID: `task_1`\n")
    monkeypatch.chdir(tmp_path)
    assert Tape.load("here.md").task.task_id == "task_1"
    assert control(server, "POST", "/play", {"tape": "here.md"}).status_code == 404


def test_a_tape_of_the_projects_folder_is_found(server: RelayServer, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cat.md").write_text("> ID: `task_1`\n")
    server.reset(tapes=tmp_path)
    assert "own/cat" in control(server, "GET", "/tapes").json()["tapes"]
    assert control(server, "POST", "/play", {"tape": "own/cat"}).status_code == 201
    assert tickertape.parse_response(chat(server).json()).task_id == "task_1"


@pytest.mark.parametrize("evil", ["1\r\nset-cookie: a=b", "1\nx: y", "a\0b", "1\r\n\r\n<script>"])
def test_a_control_call_cannot_inject_a_header(server: RelayServer, evil: str) -> None:
    for path, body in [
        ("/fail", {"status": 429, "retry_after": evil}),
        ("/fail", {"fault": {"status": {"code": 429, "retry_after": evil}}}),
        ("/play", {"tape": "sora-2/kite-festival", "fault": {"content_type": {"value": evil}}}),
    ]:
        answer = control(server, "POST", path, body)
        assert answer.status_code == 400
        assert "one line" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "header", [["x", "1\r\nset-cookie: a=b"], ["x\r\nset-cookie: a", "b"], ["x", "a\u0000b"], ["x y", "z"], ["", "z"]]
)
def test_a_tape_cannot_inject_a_header(server: RelayServer, header: list[str]) -> None:
    lines = [
        {"tape": 1, "title": "x"},
        {"response": {"status": 429, "headers": [header]}},
        {"t": 0, "data": "{}"},
        {"t": 0, "end": "eof"},
    ]
    server.play(Tape.loads("".join(json.dumps(line) + "\n" for line in lines)))
    answer = chat(server)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "illegal_header"
    assert "set-cookie" not in answer.headers
    with pytest.raises(ValueError, match="take the line break out"):
        server.verify()


def test_a_header_that_was_recorded_in_another_script_is_sent_as_it_came(server: RelayServer) -> None:
    recorded = "猫".encode().decode("latin-1")
    reply = whole(200, {"choices": [{"message": {"content": "> 排队中"}}]}, headers=[("x-name", recorded)])
    server.play(Tape("cat", interactions=(Interaction(None, reply),)))
    assert (b"x-name", "猫".encode()) in chat(server).headers.raw


def test_a_header_in_another_script_is_sent_as_utf8(server: RelayServer) -> None:
    server.fail(status=429, retry_after="稍后")
    assert (b"retry-after", "稍后".encode()) in chat(server).headers.raw


def test_a_body_that_is_too_large_is_413_and_the_client_can_read_it(server: RelayServer) -> None:
    large = b"x" * (3 << 20)
    told = httpx.post(f"{server.base_url}/chat/completions", content=large, headers=KEY)
    chunked = httpx.post(f"{server.base_url}/chat/completions", content=iter([large[: 1 << 20]] * 3), headers=KEY)
    for answer in (told, chunked):
        assert answer.status_code == 413
        assert "max_body" in answer.json()["error"]["message"]
        assert answer.headers["connection"] == "close"
    assert len(server.calls) == 0


def test_a_length_that_is_a_lie_is_413_before_any_byte_is_taken(server: RelayServer) -> None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_control_call_that_is_too_large_is_413(server: RelayServer) -> None:
    answer = control(server, "POST", "/play", {"tape": "x" * (1 << 20)})
    assert answer.status_code == 413
    assert control(server, "POST", "/play", {"tape": "x" * ((1 << 20) - 20)}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/play", {}, "expected one of"),
        ("/play", {"tape": "a/b", "scenario": {}}, "expected one of"),
        ("/play", {"tape": 1}, "tape: expected a text, found 1"),
        ("/play", {"tape": "a/b", "path": "/etc"}, "found 'path'"),
        ("/play", [], "expected an object, found list"),
        ("/play", {"scenario": {"kind": "__class__"}}, "expected one of image, video, audio"),
        ("/play", {"scenario": {"kind": ["image"]}}, "expected one of image, video, audio"),
        ("/play", {"scenario": {"prompt": 1}}, "prompt: expected a text"),
        ("/play", {"scenario": {"n": 10**9}}, "up to 1000"),
        ("/play", {"scenario": {"steps": [["bind", "x"]]}}, "found 'bind'"),
        ("/play", {"scenario": {"steps": [["__init__"]]}}, "found '__init__'"),
        ("/play", {"scenario": {"steps": ["_with"]}}, "found '_with'"),
        ("/play", {"scenario": {"steps": [[]]}}, "steps[0]: expected one of"),
        ("/play", {"scenario": {"steps": [["queue", 10**9]]}}, "up to 1000"),
        ("/play", {"scenario": {"steps": [["queue", {"a": 1}]]}}, "expected numbers and texts"),
        ("/play", {"scenario": {"steps": [["progress", *range(2000)]]}}, "at most 1000"),
        ("/play", {"scenario": {"steps": [["progress", 101]]}}, "from 0 to 100"),
        ("/play", {"scenario": {"steps": [["dialect", "nope"]]}}, "no such dialect"),
        ("/play", {"scenario": {"steps": [["pace"]]}}, "missing 1 required"),
        ("/play", {"scenario": {"steps": [["fail"], ["fail"]]}}, "already ends"),
        ("/play", {"scenario": {}, "times": 0}, "above 0"),
        ("/play", {"scenario": {}, "times": "2"}, "times: expected a whole number"),
        ("/play", {"scenario": {}, "optional": 1}, "expected true or false"),
        ("/play", {"scenario": {}, "when": {"test": "x"}}, "found 'test'"),
        ("/play", {"scenario": {}, "when": {"model": 1}}, "when.model: expected a text"),
        ("/play", {"scenario": {}, "fault": {"apply": {}}}, "found 'apply'"),
        ("/play", {"scenario": {}, "fault": {"reset": {"where": 1}}}, "expected byte, frame, event"),
        ("/play", {"scenario": {}, "fault": {"reset": {"frame": "x"}}}, "fault.reset"),
        ("/play", {"scenario": {}, "fault": {"reset": {"frame": 1, "byte": 1}}}, "give one of"),
        ("/play", {"scenario": {}, "fault": {"reset": {}, "late": {}}}, "expected one name"),
        ("/fail", {}, "expected one of status= and fault="),
        ("/fail", {"status": 200}, "400 to 599"),
        ("/fail", {"status": True}, "expected a whole number"),
        ("/verdict?allow=nope", None, "nope"),
        ("/journal", None, "session"),
    ],
)
def test_a_control_call_that_is_wrong_says_what_was_expected(
    server: RelayServer, path: str, body: Any, expected: str
) -> None:
    method = "GET" if body is None else "POST"
    headers = {"x_tickertape_session": "../x"} if path == "/journal" else {}
    answer = control(server, method, path, body, **headers)
    assert answer.status_code == 400, answer.text
    assert expected in answer.json()["error"]["message"]


def test_a_body_that_is_no_json_is_400(server: RelayServer) -> None:
    for content in (b"{", b"\xff", b"[" * 100_000):
        answer = httpx.post(f"{server.url}{CONTROL}/play", content=content)
        assert answer.status_code == 400
        assert "no JSON" in answer.json()["error"]["message"]


def test_keys_do_not_reach_the_journal(server: RelayServer) -> None:
    server.play(Scenario.image("a cat"))
    chat(server)
    assert "sk-tickertape" not in control(server, "GET", "/journal").text


# -- the controls ---------------------------------------------------------------------------


def test_a_suite_of_another_language_does_what_python_does(server: RelayServer) -> None:
    told = {"kind": "image", "prompt": "a cat", "n": 2, "steps": [["progress", 14, 48], ["fail", "input_moderation"]]}
    assert control(server, "POST", "/fail", {"status": 429, "retry_after": 2, "times": 2}).status_code == 201
    assert control(server, "POST", "/play", {"scenario": told, "when": {"prompt": "cat"}}).status_code == 201
    assert control(server, "GET", "/verdict").json()["unplayed"]
    assert [chat(server).status_code for _ in range(3)] == [429, 429, 200]
    journal = control(server, "GET", "/journal").json()
    assert [call["status"] for call in journal["calls"]] == [429, 429, 200]
    assert journal["calls"][2]["task"]["error"]["code"] == "input_moderation"
    verdict = control(server, "GET", "/verdict").json()
    assert {finding["name"] for finding in verdict["findings"]} == {"retry_after_ignored"}
    assert not verdict["passed"]
    assert control(server, "GET", "/verdict?allow=retry_after_ignored").json()["passed"]
    assert control(server, "POST", "/reset").json()["forgot"] == {"calls": 3}
    assert control(server, "GET", "/journal").json() == {"session": "", "calls": []}


def test_a_session_is_named_by_a_header(server: RelayServer) -> None:
    for name in ("one", "two"):
        control(server, "POST", "/play", {"tape": "sora-2/kite-festival"}, x_tickertape_session=name)
    assert chat(server, x_tickertape_session="one").status_code == 200
    assert chat(server).status_code == 404
    journals = [
        control(server, "GET", "/journal", x_tickertape_session=name).json()["calls"] for name in ("one", "two")
    ]
    assert [len(calls) for calls in journals] == [1, 0]
    assert "one" in control(server, "GET", "/").json()["sessions"]
    control(server, "POST", "/reset", x_tickertape_session="one")
    assert "one" not in control(server, "GET", "/").json()["sessions"]


def test_every_step_and_fault_of_python_is_there(server: RelayServer) -> None:
    from tickertape.testing._job import Job

    public = {name for name, value in vars(Scenario).items() if not name.startswith("_") and inspect.isfunction(value)}
    assert public - set(STEPS) == {"bind"}
    made = {name for name, value in vars(Fault).items() if isinstance(value, classmethod)}
    assert made == set(FAULTS)
    assert scenario({"kind": "image", "prompt": "a cat", "n": 2, "steps": [["progress", 14, 48], "cut"]}) == (
        Scenario.image("a cat", n=2).progress(14, 48).cut()
    )
    assert fault({"reset": {"event": ["Progress", 2]}}) == Fault.reset(event=("Progress", 2))
    assert fault("refused") == Fault.refused()
    assert isinstance(scenario({}).bind(), Job)


def test_the_document_tells_every_route_step_fault_and_condition(server: RelayServer) -> None:
    document = control(server, "GET", "/openapi.json").json()
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {(method, path) for method, path, _ in ROUTES}
    schemas = document["components"]["schemas"]
    assert set(schemas["StepName"]["enum"]) == set(STEPS)
    assert set(schemas["FaultName"]["enum"]) == set(FAULTS)
    assert set(schemas["When"]["properties"]) == set(WHEN)
    assert document["servers"] == [{"url": server.url + CONTROL}]


def test_every_reference_of_the_document_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(openapi()))
    assert len(found) > 8
    for reference in found:
        place: Any = openapi()
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]


def test_the_documents_examples_are_accepted(server: RelayServer) -> None:
    for path in ("/play", "/fail"):
        content = openapi()["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for name, example in content["examples"].items():
            assert control(server, "POST", path, example["value"]).status_code == 201, name


def test_a_call_in_the_journal_has_the_fields_of_the_document(server: RelayServer) -> None:
    server.play(Scenario.image("a cat"))
    chat(server)
    (call,) = control(server, "GET", "/journal").json()["calls"]
    schema = openapi()["components"]["schemas"]["Call"]
    assert set(call) == set(schema["required"]) == set(schema["properties"])


def test_a_control_that_is_not_there_names_those_that_are(server: RelayServer) -> None:
    missing, wrong = control(server, "GET", "/nope"), control(server, "GET", "/play")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    assert "POST /__tickertape__/play" in missing.json()["error"]["message"]


# -- the feed -------------------------------------------------------------------------------


def events(lines: Iterator[str], count: int) -> list[tuple[int, str, Any]]:
    found: list[tuple[int, str, Any]] = []
    event: dict[str, str] = {}
    for line in lines:
        if line:
            key, _, value = line.partition(": ")
            event[key] = value
        elif "data" in event:
            found.append((int(event["id"]), event["event"], json.loads(event["data"])))
            event = {}
            if len(found) == count:
                return found
    return found


def test_the_feed_tells_calls_as_they_start_go_on_and_end(server: RelayServer) -> None:
    server.reset(speed=1.0)
    server.play(Scenario.image("a cat").queue(1).generate(1).progress(20, 60).pace(0.2))
    with httpx.stream("GET", f"{server.url}{CONTROL}/events", timeout=20) as feed:
        assert feed.headers["content-type"].startswith("text/event-stream")
        thread = threading.Thread(
            target=lambda: httpx.post(f"{server.base_url}/chat/completions", json={**BODY, "stream": True}, headers=KEY)
        )
        thread.start()
        lines = feed.iter_lines()
        found: list[tuple[int, str, Any]] = []
        while not found or found[-1][1] != "ended":
            found += events(lines, 1)
        thread.join()
    names = [name for _, name, _ in found]
    started = names.index("started")
    assert names[started + 1 : -1].count("progressed") == len(names[started + 1 : -1]) > 1
    assert [number for number, _, _ in found] == sorted(number for number, _, _ in found)
    assert found[-1][2] == control(server, "GET", "/journal").json()["calls"][0]
    server.reset(speed=0.0)


def test_a_feed_goes_on_where_it_broke_off(server: RelayServer) -> None:
    server.play(Scenario.image("a cat"), times=2)
    chat(server)
    with httpx.stream("GET", f"{server.url}{CONTROL}/events") as feed:
        lines = feed.iter_lines()
        *_, last = [*events(lines, 2)]
        while last[1] != "ended":
            (last,) = events(lines, 1)
    chat(server)
    with httpx.stream("GET", f"{server.url}{CONTROL}/events", headers={"last-event-id": str(last[0])}) as feed:
        (first,) = events(feed.iter_lines(), 1)
    assert first[0] > last[0]
    assert (first[1], first[2]["number"]) == ("started", 2)
    with httpx.stream("GET", f"{server.url}{CONTROL}/events", headers={"last-event-id": "999999"}) as feed:
        assert events(feed.iter_lines(), 1)[0][0] <= first[0]  # of another run: from the beginning


def test_the_feed_tells_which_calls_a_bounded_journal_drops() -> None:
    with RelayServer(keep=2, strict=False) as server:
        server.play(Scenario.image("a cat"), times=None)
        chat(server)
        with httpx.stream("GET", f"{server.url}{CONTROL}/events") as feed:
            lines = feed.iter_lines()
            events(lines, 1)
            for _ in range(3):
                chat(server)
            found: list[tuple[int, str, Any]] = []
            while [name for _, name, _ in found].count("forgotten") < 2:
                found += events(lines, 1)
        assert [data for _, name, data in found if name == "forgotten"] == [{"number": 1}, {"number": 2}]
        with httpx.stream("GET", f"{server.url}{CONTROL}/events") as feed:  # who comes now was never told of them
            assert events(feed.iter_lines(), 1)[0][2]["number"] == 3


def test_the_feed_of_a_session_that_a_reset_ends_says_so_and_ends(server: RelayServer) -> None:
    with httpx.stream("GET", f"{server.url}{CONTROL}/events", headers={"x-tickertape-session": "worker-3"}) as feed:
        lines = feed.iter_lines()
        assert next(lines) == "retry: 1000"
        server.reset()
        rest = list(lines)
    assert rest == ["", "event: reset", "data: {}", ""]


def test_the_feed_tells_of_a_reset(server: RelayServer) -> None:
    with httpx.stream("GET", f"{server.url}{CONTROL}/events") as feed:
        lines = feed.iter_lines()
        (_, first, _) = events(lines, 1)[0]
        assert first == "reset"  # the fixture's own
        time.sleep(0.1)
        server.reset()
        assert events(lines, 1)[0][1:] == ("reset", {})
