"""openai 2, on httpx."""

from __future__ import annotations

from typing import Any

import pytest

openai: Any = pytest.importorskip("openai", reason="openai 2 is not installed; nox -s openai2")
if not openai.__version__.startswith("2."):
    pytest.skip("openai 2 is not what is installed; nox -s openai2", allow_module_level=True)

import httpx  # noqa: E402

from tickertape.testing import FakeRelay, Fault, Scenario  # noqa: E402

from .openai_sdk import *  # noqa: E402, F403
from .openai_sdk import ASK, client  # noqa: E402


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.reset(frame=5), "ReadError"),
        (Fault.close(frame=5), "RemoteProtocolError"),
        (Fault.stall(3600, frame=5), "ReadTimeout"),
    ],
    ids=str,
)
def test_a_stream_that_breaks_is_a_bare_error_of_httpx_and_not_asked_for_again(
    fake_relay: FakeRelay, fault: Fault, raised: str
) -> None:
    fake_relay.play(Scenario.image("a cat"), fault=fault)
    with client(timeout=30) as sdk, pytest.raises(getattr(httpx, raised)) as caught:
        list(sdk.chat.completions.create(**ASK, stream=True))
    assert type(caught.value) is getattr(httpx, raised)
    assert len(fake_relay.calls) == 1
