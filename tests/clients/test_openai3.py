"""openai 3, on httpx2."""

from __future__ import annotations

from typing import Any

import pytest

openai: Any = pytest.importorskip("openai", reason="openai 3 is not installed; nox -s openai3")
if not openai.__version__.startswith("3."):
    pytest.skip("openai 3 is not what is installed; nox -s openai3", allow_module_level=True)

from tickertape.testing import FakeRelay, Fault, Scenario  # noqa: E402

from .openai_sdk import *  # noqa: E402, F403
from .openai_sdk import ASK, client  # noqa: E402


@pytest.mark.parametrize(
    ("fault", "raised", "cause"),
    [
        (Fault.reset(frame=5), openai.APIConnectionError, "ReadError"),
        (Fault.close(frame=5), openai.APIConnectionError, "RemoteProtocolError"),
        (Fault.stall(3600, frame=5), openai.APITimeoutError, "ReadTimeout"),
    ],
    ids=str,
)
def test_a_stream_that_breaks_is_an_error_of_the_sdk_and_not_asked_for_again(
    fake_relay: FakeRelay, fault: Fault, raised: type[Exception], cause: str
) -> None:
    fake_relay.play(Scenario.image("a cat"), fault=fault)
    with client(timeout=30) as sdk, pytest.raises(raised) as caught:
        list(sdk.chat.completions.create(**ASK, stream=True))
    behind = caught.value.__cause__
    assert (type(behind).__module__.partition(".")[0], type(behind).__name__) == ("httpx2", cause)
    assert len(fake_relay.calls) == 1
