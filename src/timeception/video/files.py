"""Check video files before decoding, and word the errors.

FFmpeg silently stops early in many damaged files. Containers declare their length: top-level boxes
in MP4, the segment in Matroska, chunks in RIFF, fixed-size packets in MPEG-TS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

HEAD_BYTES = 1024
UNKNOWN_LENGTH = b"\xff\xff\xff\xff"  # of a RIFF chunk written to a pipe
ADVICE_REPLACE = "Download or export the file again."
ADVICE_DAMAGED = "Download the file again, or use its intact frames with allow_damaged=True."
ADVICE_NOT_VIDEO = "Pass a video file, or remove this one."


class VideoError(ValueError):
    """A video that cannot be used: the file, what is wrong and what to do, in one line.

    Attributes:
        path: the file, or the name of the stream.
        problem: what is wrong with it.
        advice: what to do.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, advice: str) -> None:
        self.path = Path(path)
        self.problem = problem
        self.advice = advice
        super().__init__(str(path), problem, advice)

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.problem}. {self.advice}"

    @classmethod
    def encrypted(cls, path: Path) -> VideoError:
        """The error for a file under copy protection."""
        problem = "is encrypted (DRM): its frames cannot be decoded"
        return cls(path, problem, "Pass a file without copy protection.")


def check_readable(path: Path) -> None:
    """Refuse paths that are not files with binary content.

    Raises:
        VideoError: if ``path`` is missing, a directory, empty, unreadable or text.
    """
    if path.is_dir():
        raise VideoError(path, "is a directory, not a video file", "Pass the files inside it.")
    if not path.exists():
        raise VideoError(path, "does not exist", "Check the path.")
    try:
        head = _head(path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
        raise VideoError(path, problem, "Check the disk and the file permissions.") from error
    if not head:
        raise VideoError(path, "is empty (0 bytes)", ADVICE_REPLACE)
    if _is_text(head):
        raise VideoError(path, "is a text file, not a video", ADVICE_NOT_VIDEO)


def explain_unreadable(path: Path) -> VideoError:
    """The error for a file that FFmpeg cannot open, derived from its first bytes."""
    head = _head(path)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"moov") and not has_mp4_index(path):
        problem = "is an MP4 without its index (the moov box): recording or download was cut short"
        return VideoError(path, problem, ADVICE_REPLACE)
    shortfall = missing_bytes(path)
    if shortfall:
        return VideoError(path, f"is cut short by at least {shortfall} bytes", ADVICE_REPLACE)
    start = head[:8].hex(" ")
    problem = f"is not a video that FFmpeg can read (it begins with the bytes {start})"
    return VideoError(path, problem, ADVICE_NOT_VIDEO)


def missing_bytes(path: Path) -> int:
    """Bytes that the container declares beyond the end of the file; 0 if it declares no length.

    Supports MP4 and MOV, Matroska and WebM, AVI, and MPEG-TS, whose packets have a fixed size.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        head = _head(path)
        ends = (declared_end(file, size) for is_format, declared_end in _FORMATS if is_format(head))
        return max(0, next(ends, 0) - size)


def has_mp4_index(path: Path) -> bool:
    """Whether an MP4 or MOV file has a complete top-level ``moov`` box."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        return any(box.kind == b"moov" and box.end <= size for box in _boxes(file, size))


def has_encrypted_track(path: Path) -> bool:
    """Whether an MP4 or MOV file that does not decode has a protected video track."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for box in _boxes(file, size):
            if box.kind == b"moov":
                file.seek(box.start)
                description = file.read(box.end - box.start)
                return b"encv" in description or b"drmi" in description
    return False


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _is_text(head: bytes) -> bool:
    """Whether the bytes are printable UTF-8; the last character may be incomplete."""
    for cut in range(min(4, len(head))):
        try:
            text = head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return all(letter.isprintable() or letter.isspace() for letter in text.lstrip("\ufeff"))
    return False


class _Box(NamedTuple):
    """A box of an MP4 file; positions are in bytes."""

    kind: bytes
    start: int
    end: int


def _boxes(file: BinaryIO, size: int) -> list[_Box]:
    """The top-level boxes of an MP4 file, up to one that extends beyond the file."""
    boxes, position = [], 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # a 64-bit length follows
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            break
        boxes.append(_Box(header[4:8], position, position + length))
        position += length
    return boxes


def _mp4_end(file: BinaryIO, size: int) -> int:
    # Junk after the last box is common and harmless, so unknown boxes are ignored.
    boxes = [box for box in _boxes(file, size) if box.kind in (b"mdat", b"moov", b"moof")]
    return max((box.end for box in boxes), default=0)


def _matroska_end(file: BinaryIO, size: int) -> int:
    """End of the segment; 0 if its length is unknown, as in live recordings."""
    file.seek(4)
    header_length, _ = _ebml_length(file)
    file.seek(header_length, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length, is_unknown = _ebml_length(file)
    return 0 if is_unknown else file.tell() + length


def _ebml_length(file: BinaryIO) -> tuple[int, bool]:
    """A variable-width length, and whether it is the reserved value for "unknown"."""
    first = (file.read(1) or b"\xff")[0]
    width = 9 - first.bit_length()
    value = int.from_bytes(bytes([first]) + file.read(width - 1), "big")
    mask = (1 << 7 * width) - 1
    return value & mask, value & mask == mask


def _riff_end(file: BinaryIO, size: int) -> int:
    """End of the last RIFF chunk; files above 1 GB have several."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        if header[:4] != b"RIFF" or header[4:] == UNKNOWN_LENGTH:
            break
        position += 8 + int.from_bytes(header[4:], "little")
    return position


def _is_ts(head: bytes, packet_bytes: int, sync_at: int) -> bool:
    syncs = head[sync_at::packet_bytes]
    return len(syncs) > 2 and set(syncs) == {0x47}


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]], ...] = (
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"), _mp4_end),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _matroska_end),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _riff_end),
    (lambda head: _is_ts(head, 188, 0), lambda file, size: size + -size % 188),
    (lambda head: _is_ts(head, 192, 4), lambda file, size: size + -size % 192),
)
