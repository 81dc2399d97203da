"""Finds zstd frames within other bytes and unpacks them (format: RFC 8878, section 3.1)."""

from collections.abc import Iterator

import pyarrow as pa

MAGIC = b"\x28\xb5\x2f\xfd"
"""The beginning of every frame."""


def unpack(data: bytes, size: int, overlap: int) -> Iterator[bytes]:
    """Yield the content of each frame in `data`, at most `size` bytes at a time.

    The last `overlap` bytes are repeated with the next ones. Bytes that look like a frame but cannot be unpacked are
    ignored.
    """
    start = data.find(MAGIC)
    while start >= 0:
        end = frame_end(data, start)
        if end is not None:
            try:
                yield from _parts(data[start:end], size, overlap)
            except (OSError, pa.ArrowException):
                end = None
        start = data.find(MAGIC, start + 1 if end is None else end)


def frame_end(data: bytes, start: int) -> int | None:
    """Return the end of the frame that begins at `start`; None if there is no frame or it is truncated."""
    if start + 5 > len(data):
        return None
    flags = data[start + 4]
    content, single, checksum, dictionary = flags >> 6, flags >> 5 & 1, flags >> 2 & 1, flags & 3
    place = start + 5 + (0, 1, 2, 4)[dictionary]
    place += (1 if content == 0 else 2**content) if single else 1 + (2**content if content else 0)
    last = False
    while not last:
        if place + 3 > len(data):
            return None
        header = int.from_bytes(data[place : place + 3], "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind > 2:
            return None
        place += 3 + (1 if kind == 1 else length)  # type 1 is one byte, repeated
    place += 4 * checksum
    return place if place <= len(data) else None


def _parts(frame: bytes, size: int, overlap: int) -> Iterator[bytes]:
    stream, end = pa.CompressedInputStream(pa.BufferReader(frame), "zstd"), b""
    while part := stream.read(size - overlap):
        yield end + part
        end = part[-overlap:]
