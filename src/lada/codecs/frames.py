"""One block of bytes for each of some texts. Each block can be read without the others.

A file is the index's length (8 bytes, little-endian), the index (lada.codecs.table) and one zstd frame for each text.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from lada.codecs.table import LIMIT, Field, pack, unpack
from lada.codecs.table import count as rows_of
from lada.core.errors import CodecError
from lada.core.plural import counted

Made = TypeVar("Made")
FIELDS = (
    Field("id", "string", nullable=False),
    Field("offset", "uint64", nullable=False),  # bytes from the end of the index to the frame
    Field("size", "uint32", nullable=False),  # bytes of the frame
    Field("tokens", "uint32", nullable=False),
    Field("bits", "uint8", nullable=False),
)
LENGTH = 8
"""Bytes of the index's length."""
ZSTD = "zstd"
"""The compression of each block, by its name in Arrow."""
ROW = 21
"""Bytes of a row of the index without its id, and 4 for the place of the id."""


class Block(NamedTuple):
    """The bytes of a text, with the number of its tokens and of the bits that its layout uses."""

    id: str
    data: bytes
    tokens: int
    bits: int = 0


def write(mark: str, blocks: Iterable[Block], header: dict[str, str]) -> bytes:
    """Return blocks as a file; `mark` names its format, in its header."""
    import pyarrow as pa  # here, as in lada.codecs.table

    codec = pa.Codec(ZSTD)
    frames: list[bytes] = []
    rows: list[tuple[str, int, int, int, int]] = []
    offset = 0
    for block in blocks:
        frame = codec.compress(block.data, asbytes=True)
        rows.append((block.id, offset, len(frame), block.tokens, block.bits))
        frames.append(frame)
        offset += len(frame)
    columns = {field.name: [row[place] for row in rows] for place, field in enumerate(FIELDS)}
    index = pack(mark, FIELDS, columns, header)
    return b"".join([len(index).to_bytes(LENGTH, "little"), index, *frames])


def count(data: bytes, mark: str) -> int:
    """Return the number of texts; reads only the header. Raises CodecError for other bytes."""
    return rows_of(data[LENGTH : LENGTH + int.from_bytes(data[:LENGTH], "little")], mark)


class Frames(Mapping[str, Made]):
    """The result of `write`, by id. A block is decompressed and read each time it is accessed."""

    def __init__(
        self,
        data: bytes,
        mark: str,
        *,
        known_ids: Collection[str] | None,
        limit: int = LIMIT,
    ) -> None:
        """Read the index.

        `known_ids` are the only ids allowed (None: any). `limit` is the most bytes of the index before compression.
        Raises only CodecError, for an index that `write` would not write.
        """
        start = LENGTH + int.from_bytes(data[:LENGTH], "little")
        if start > len(data):
            raise CodecError(f"{mark}: {counted(len(data), 'byte')}; expected at least {start}")
        columns, self.header = unpack(data[LENGTH:start], mark, FIELDS, known_ids=known_ids, limit=limit)
        self.mark = mark
        self._blocks: dict[str, tuple[memoryview, int, int]] = {}
        frames = memoryview(data)[start:]
        end = 0
        for sample_id, offset, size, tokens, bits in zip(*(columns[field.name] for field in FIELDS), strict=True):
            if offset != end:
                raise CodecError(f"{mark}: sample {sample_id!r} at byte {offset}; expected at {end}")
            end += size
            self._blocks[sample_id] = frames[offset:end], tokens, bits
        if end != len(frames):
            raise CodecError(f"{mark}: {counted(len(frames), 'byte')} of samples; expected {end}")

    @abstractmethod
    def size(self, sample_id: str) -> int:
        """Return the bytes of a block, which follow from the index and its header."""

    @abstractmethod
    def made(self, sample_id: str, raw: bytes) -> Made:
        """Return what a block of that many bytes holds. Raises only CodecError."""

    def check_sizes(self, limit: int) -> None:
        """Raise CodecError for a block of more than `limit` bytes."""
        for sample_id in self:
            check_size(self.mark, sample_id, self.size(sample_id), limit)

    def tokens(self, sample_id: str) -> int:
        """Return the number of tokens of a text, from the index. Raises KeyError for an unknown id."""
        return self._blocks[sample_id][1]

    def bits(self, sample_id: str) -> int:
        """Return the number of bits that the layout of a block uses, from the index."""
        return self._blocks[sample_id][2]

    def __getitem__(self, sample_id: str) -> Made:
        """Return what a block holds. Raises KeyError for an unknown id, else only CodecError, whatever the bytes."""
        import pyarrow as pa

        frame, size = self._blocks[sample_id][0], self.size(sample_id)
        try:
            raw = pa.Codec(ZSTD).decompress(frame, decompressed_size=size, asbytes=True)
        except (pa.ArrowException, OSError) as error:
            raise CodecError(f"{self.mark}: sample {sample_id!r} is not a frame of {counted(size, 'byte')}") from error
        try:
            return self.made(sample_id, raw)
        except CodecError as error:
            raise CodecError(f"{self.mark}: sample {sample_id!r}: {error}") from None

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._blocks  # Mapping's default would read the block

    def __iter__(self) -> Iterator[str]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)


def check_size(mark: str, sample_id: str, size: int, limit: int) -> None:
    """Raise CodecError for a block of more than `limit` bytes."""
    if size > limit:
        raise CodecError(f"{mark}: sample {sample_id!r} has {counted(size, 'byte')}; expected at most {limit}")
