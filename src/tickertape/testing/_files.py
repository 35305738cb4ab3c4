"""Files of tapes: written whole or not at all, by one writer at a time, media once.

A file is written beside itself under a name that nobody else has, and then renamed:
whoever reads, and whatever dies meanwhile, sees the old file or the new one. What a
killed process leaves is a `.….tmp` that nothing reads; what was written to it was
redacted before.

Media lie in the folder `media/` beside the tapes that tell of them, each under its
SHA-256: `media/<64 hex digits>.png`. Tapes of one folder share them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from .._errors import TapeError

MEDIA = "media"
"""The folder of media, beside the tapes."""

_MEDIUM = re.compile(r"([0-9a-f]{64})\.[a-z0-9]{1,8}")
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would write \r\n
_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in the quota",
    errno.EROFS: "the file system is read-only, choose another folder",
    errno.ENOTDIR: "a part of the path is a file, choose another folder",
    errno.EEXIST: "the folder is a file, choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class TapeBusy(TapeError):
    """Another process, or another test of this one, records the same tape."""


def write(path: Path, data: bytes) -> None:
    """Put a file there, whole or not at all; its folder is made. Raises `TapeError`."""
    # Beside the file, for a rename is atomic only within a file system.
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fill(draft, data)
            os.replace(draft, path)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise TapeError(f"{path}: cannot be written: {_reason(error)}; what was there before is as it was") from error


def _fill(draft: Path, data: bytes) -> None:
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)  # or a power cut may keep the new name and lose what is in it
    finally:
        os.close(file)


def _reason(error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0, "check the folder's permissions")
    return f"{error.strerror or error}; {remedy}"


# -- media ------------------------------------------------------------------------------


def store_medium(tapes: Path, data: bytes, suffix: str) -> str:
    """Keep a medium beside the tapes of a folder, once; its name. `suffix` is such as `.png`. Raises `TapeError`."""
    name = hashlib.sha256(data).hexdigest() + suffix
    path = tapes / MEDIA / name
    try:
        there = path.stat().st_size == len(data)
    except OSError:
        there = False
    if not there:
        write(path, data)
    return name


def read_medium(tapes: Path, name: object) -> bytes:
    """A medium that a tape of this folder tells of. Raises `TapeError`; a name cannot leave the folder."""
    told = _MEDIUM.fullmatch(name) if isinstance(name, str) else None
    if told is None:
        raise TapeError(f"medium {str(name)[:80]!r}: expected 64 hex digits and a suffix, such as '….png'")
    path = tapes / MEDIA / told[0]
    if not path.resolve().is_relative_to(tapes.resolve()):
        raise TapeError(f"{path}: a link that leads out of {tapes}; put the medium itself there")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TapeError(f"{path}: {error.strerror}; record the tape again, or put the medium back") from error
    if hashlib.sha256(data).hexdigest() != told[1]:
        raise TapeError(f"{path}: its content is not what its name says; put the medium back, or record the tape again")
    return data


# -- one writer ---------------------------------------------------------------------------


class Lock:
    """One writer for a tape, from the first request until it is saved.

    A lock of the system on `.NAME.lock` beside the tape, not the file's being there:
    the system lets go of it when a process dies, however it does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = path.with_name(f".{path.name}.lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises `TapeBusy` where another writer is at it, and `TapeError` where nobody could write."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                file = os.open(self._beside, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    _lock(file)
                    # The one before may have taken the file away after it was opened here.
                    if os.path.samestat(os.fstat(file), os.stat(self._beside)):
                        self._file, file = file, -1
                except FileNotFoundError:
                    continue
                finally:
                    if file >= 0:
                        os.close(file)
        except BlockingIOError:
            raise TapeBusy(
                f"{self.path}: is being recorded by another test or process; give each a tape of its own"
            ) from None
        except OSError as error:
            raise TapeError(f"{self.path}: cannot be written: {_reason(error)}") from error

    def release(self) -> None:
        """Also without `acquire`, and twice."""
        file, self._file = self._file, None
        if file is None:
            return
        if sys.platform != "win32":  # there, an open file cannot be taken away
            with suppress(OSError):
                self._beside.unlink()
        os.close(file)
        if sys.platform == "win32":
            with suppress(OSError):
                self._beside.unlink()


def _lock(file: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
