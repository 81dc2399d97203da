"""The ledger: one row for each kind in each message that crossed the wire."""

import io
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lada.core.errors import LadaError
from lada.core.known import known
from lada.core.plural import counted, plural
from lada.core.results import Traffic
from lada.core.sealed import is_sealed, seal, unseal, unsealed, write
from lada.federation.messages import SERVER

LINES, TABLE = "ledger.jsonl", "ledger.parquet"
Describe = Callable[[str, Mapping[str, bytes]], int | None]
"""Given a kind and its payload, returns how many samples the part covers; None if unknown."""

SCHEMA = pa.schema(
    [
        pa.field("round", pa.int64(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("sender", pa.string(), nullable=False),
        pa.field("receiver", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("samples", pa.int64()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One crossing: `bytes` as encoded; `digest` is their SHA-256, hexadecimal; `samples` is None if unknown."""

    round: int
    phase: str
    sender: str
    receiver: str
    kind: str
    samples: int | None
    bytes: int
    digest: str


class Ledger:
    """Writes each row to `ledger.jsonl` at once, and all rows to `ledger.parquet` when closed.

    A run that fails closes its ledger too. After a kill, `read` uses the remaining lines.
    """

    def __init__(self, folder: Path, describe: Describe | None = None, earlier: Iterable[LedgerRow] = ()) -> None:
        """`earlier` are the rows to keep in a resumed run; all other rows of the folder's ledger are dropped."""
        self.rows: list[LedgerRow] = list(earlier)
        self._folder = folder
        self._describe = describe
        folder.mkdir(parents=True, exist_ok=True)
        self._crossed = {(row.round, row.phase, row.sender, row.receiver) for row in self.rows}
        write(folder / LINES, "".join(map(_line, self.rows)).encode())
        unsealed(folder / TABLE)
        self._lines = (folder / LINES).open("a", encoding="utf-8")

    def has(self, round: int, phase: str, sender: str, receiver: str) -> bool:
        """Return whether a message of a phase crossed from one party to the other."""
        return (round, phase, sender, receiver) in self._crossed

    def record(self, round: int, phase: str, sender: str, receiver: str, payload: Mapping[str, bytes]) -> int:
        """Add one row per kind of one message; return its bytes."""
        total, told = 0, known(payload)
        self._crossed.add((round, phase, sender, receiver))
        for kind in sorted(payload):
            samples = self._describe(kind, told) if self._describe else None
            row = LedgerRow(round, phase, sender, receiver, kind, samples, told.size(kind), told.digest(kind))
            self.rows.append(row)
            self._lines.write(_line(row))
            total += row.bytes
        self._lines.flush()
        return total

    def close(self) -> None:
        """Write `ledger.parquet` in one step and remove the lines.

        Its rows, and `rows` from now on, are sorted by round, phase, direction and party, not by arrival.
        """
        self._lines.close()
        phases = {phase: number for number, phase in enumerate(dict.fromkeys(row.phase for row in self.rows))}
        self.rows.sort(key=lambda row: (row.round, phases[row.phase], row.sender != SERVER, row.sender, row.receiver))
        table, columns = io.BytesIO(), {name: [getattr(row, name) for row in self.rows] for name in SCHEMA.names}
        pq.write_table(pa.table(columns, schema=SCHEMA), table)
        seal(self._folder / TABLE, table.getvalue())
        (self._folder / LINES).unlink()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(row: LedgerRow) -> str:
    """Return a row as a line of JSON with a checksum, `crc`, of the same line without it."""
    text = json.dumps({name: getattr(row, name) for name in SCHEMA.names}, ensure_ascii=False)
    return f'{text[:-1]}, "crc": {zlib.crc32(text.encode())}}}\n'


def _row(line: str) -> LedgerRow | None:
    """Return the row that `_line` wrote; None for anything else. Lines of earlier versions have no checksum."""
    try:
        fields = json.loads(line)
        crc = fields.pop("crc", None)
        row = LedgerRow(**fields)
    except (ValueError, TypeError, AttributeError):
        return None
    return row if crc is None or _line(row) == line + "\n" else None


def read(folder: Path) -> tuple[LedgerRow, ...]:
    """Return the rows of a run folder, in the order in which they were written; none without a ledger.

    A truncated last line of a killed run is skipped. Raises LadaError, naming the file, for any other damaged line.
    """
    rows, damaged = recover(folder)
    if damaged:
        raise LadaError(
            f"{str(folder)!r}: {damaged}; restore the file from a copy, or let `lada run {folder} --resume` "
            "continue without the lost rows"
        )
    return rows


def recover(folder: Path) -> tuple[tuple[LedgerRow, ...], str]:
    """Return the intact rows of a run folder, and a description of what is wrong with the others."""
    if (folder / LINES).exists():
        *whole, _ = (folder / LINES).read_text(encoding="utf-8", errors="replace").split("\n")
        rows = [_row(line) for line in whole]
        lost = rows.count(None)
        what = plural(lost, "is not as it was written", "are not as they were written")
        told = f"{lost} of {counted(len(rows), 'line')} of {LINES} {what}" if lost else ""
        return tuple(row for row in rows if row is not None), told
    try:
        if not (folder / TABLE).exists() and not is_sealed(folder / TABLE):
            return (), ""
        table = pq.read_table(io.BytesIO(unseal(folder / TABLE)), schema=SCHEMA)
        return tuple(LedgerRow(**row) for row in table.to_pylist()), ""
    except (LadaError, pa.ArrowException, OSError, KeyError) as error:
        return (), f"{TABLE} cannot be read ({error})"


def by_phase(rows: Iterable[LedgerRow]) -> list[dict[str, int | str]]:
    """Return messages and bytes by round, phase and kind (`content`), sorted: `up` to the server, `down` from it."""
    sums: dict[tuple[int, str, str], dict[str, int]] = defaultdict(lambda: {"messages": 0, "up": 0, "down": 0})
    for row in rows:
        total = sums[row.round, row.phase, row.kind]
        total["messages"] += 1
        total["down" if row.sender == SERVER else "up"] += row.bytes
    return [
        {"round": round, "phase": phase, "content": kind, **total}
        for (round, phase, kind), total in sorted(sums.items())
    ]


def traffic(rows: Iterable[LedgerRow]) -> tuple[Traffic, ...]:
    """Return messages and bytes summed over phases, sorted by round, sender, receiver and kind."""
    sums: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        total = sums[row.round, row.sender, row.receiver, row.kind]
        total[0] += 1
        total[1] += row.bytes
    return tuple(
        Traffic(round=round, sender=sender, receiver=receiver, kind=kind, messages=messages, bytes=size)
        for (round, sender, receiver, kind), (messages, size) in sorted(sums.items())
    )
