"""Media of the test double: decoders open them, no two are equal, and they never change."""

from __future__ import annotations

import io
from hashlib import sha256

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tickertape.testing._media import SIDE, media

PICTURES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".gif": "GIF"}
SUFFIXES = [*PICTURES, ".mp4", ".mp3", ".wav"]
numbers = st.one_of(st.integers(0, 300), st.integers(0, 16**30))


@settings(max_examples=40)
@given(numbers, st.sampled_from(list(PICTURES)))
def test_a_picture_decodes_to_the_last_pixel(number: int, suffix: str) -> None:
    data, content_type = media("image", number=number, suffix=suffix)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert (picture.format, picture.size) == (PICTURES[suffix], (SIDE, SIDE))
    assert content_type == Image.MIME[PICTURES[suffix]]


@pytest.mark.parametrize("number", [0, 1, 16**30 - 1])
def test_a_clip_decodes_to_its_last_frame(number: int) -> None:
    data, content_type = media("video", number=number)
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(video=0))
    assert content_type == "video/mp4"
    assert [(frame.width, frame.height) for frame in frames] == [(SIDE, SIDE)] * 4


@pytest.mark.parametrize(("suffix", "expected"), [(".mp3", "audio/mpeg"), (".wav", "audio/wav")])
@pytest.mark.parametrize("number", [0, 12, 16**30 - 1])
def test_a_song_decodes_to_a_tenth_of_a_second_or_more_of_sound(suffix: str, expected: str, number: int) -> None:
    data, content_type = media("audio", number=number, suffix=suffix)
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(audio=0))
    assert content_type == expected
    assert sum(frame.samples / frame.sample_rate for frame in frames) >= 0.0999
    assert any(bytes(frame.planes[0]).strip(b"\0\x80") for frame in frames), "silence"


def test_players_see_the_number_where_the_format_has_a_title() -> None:
    with av.open(io.BytesIO(media("audio", number=7)[0]), "r") as container:
        assert container.metadata["title"] == "tickertape 7"
    picture = Image.open(io.BytesIO(media("image", number=7)[0]))
    picture.load()
    assert picture.info["Comment"] == "tickertape 7"


@settings(max_examples=60)
@given(st.lists(numbers, min_size=2, max_size=6, unique=True), st.sampled_from(SUFFIXES))
def test_two_numbers_never_have_equal_bytes_and_one_always_has(of: list[int], suffix: str) -> None:
    files = [media("image", number=number, suffix=suffix)[0] for number in of]
    assert len(set(files)) == len(of)
    assert files == [media("image", number=number, suffix=suffix)[0] for number in of]


def test_the_bytes_are_the_same_on_every_machine() -> None:
    joined = b"".join(media("image", number=5, suffix=suffix)[0] for suffix in SUFFIXES)
    assert sha256(joined).hexdigest() == "2bc644b48e93de427c31c32622420d44c20087845f57e3eeb11bf7c13ae8f5d3"


def test_a_kind_has_a_suffix_of_its_own() -> None:
    assert media("image")[1] == "image/png"
    assert media("video")[1] == "video/mp4"
    assert media("audio")[1] == "audio/mpeg"


def test_stored_files_are_small() -> None:
    assert all(len(media("image", suffix=suffix)[0]) <= 4096 for suffix in SUFFIXES)


def test_what_cannot_be_made_is_named() -> None:
    with pytest.raises(ValueError, match=r"found '\.bmp'"):
        media("image", suffix=".bmp")
    with pytest.raises(ValueError, match="0 or more, found -1"):
        media("image", number=-1)
