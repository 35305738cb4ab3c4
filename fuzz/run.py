"""Give a target to atheris: what all `fuzz_*.py` share."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris


def run(name: str) -> None:
    """Fuzz one target; arguments are libFuzzer's, `-max_total_time=600` say, and folders of a corpus."""
    with atheris.instrument_imports(include=["tickertape"]):
        import targets

        import tickertape.testing.tape
        import tickertape.writer  # noqa: F401

        # A first run: what a target imports late is instrumented as well.
        targets.TARGETS[name](next(iter(targets.seeds(name).values())))
    with TemporaryDirectory() as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for number, data in enumerate(targets.seeds(name).values()):
            (seeds / f"{number:04}").write_bytes(data)
        own = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        # libFuzzer writes what it finds into the first folder.
        dictionary = Path(folder, "words")
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in targets.words(name)), "ascii")
        options = [f"-dict={dictionary}", "-max_len=1500", *(a for a in sys.argv[1:] if a.startswith("-"))]
        arguments = [sys.argv[0], *options, *own, str(seeds)]
        atheris.Setup(arguments, targets.TARGETS[name])
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    """As libFuzzer's dictionaries write bytes."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in word)
