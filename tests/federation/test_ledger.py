import hashlib
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from lada.core.errors import LadaError
from lada.core.results import Traffic
from lada.federation.ledger import Ledger, LedgerRow, by_phase, read, recover, traffic

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc" (FIPS 180-2, B.1)


def test_rows_are_written_as_they_come_and_as_a_table_at_the_end(tmp_path):
    expected = (
        LedgerRow(1, "answer", "server", "Zoë", "ids", None, 0, hashlib.sha256(b"").hexdigest()),
        LedgerRow(1, "answer", "server", "Zoë", "paths", 3, 3, ABC),
    )
    with Ledger(tmp_path, lambda kind, data: 3 if kind == "paths" else None) as ledger:
        ledger.record(1, "answer", "server", "Zoë", {"paths": b"abc", "ids": b""})
        assert read(tmp_path) == tuple(ledger.rows) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digests.json", "ledger.parquet"]
    assert read(tmp_path) == expected
    columns = pq.read_table(tmp_path / "ledger.parquet").column_names
    assert columns == ["round", "phase", "sender", "receiver", "kind", "samples", "bytes", "digest"]


def test_a_failed_run_keeps_its_rows(tmp_path):
    def fail():
        with Ledger(tmp_path) as ledger:
            ledger.record(1, "answer", "a", "server", {"x": b"abc"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read(tmp_path) == (LedgerRow(1, "answer", "a", "server", "x", None, 3, ABC),)


def test_a_killed_run_leaves_its_whole_lines_and_a_resumed_one_goes_on_from_those_it_keeps(tmp_path):
    killed = Ledger(tmp_path)
    for round in (1, 2):
        killed.record(round, "answer", "a", "server", {"x": b"abc"})
    with (tmp_path / "ledger.jsonl").open("a") as lines:
        lines.write('{"round": 2, "pha')
    assert read(tmp_path) == tuple(killed.rows)

    earlier = (row for row in read(tmp_path) if row.round < 2)
    with Ledger(tmp_path, earlier=earlier) as resumed:
        assert read(tmp_path) == (killed.rows[0],)
        resumed.record(2, "answer", "a", "server", {"x": b"abc"})
    assert read(tmp_path) == tuple(killed.rows)

    with Ledger(tmp_path):
        pass
    assert read(tmp_path) == ()
    assert read(tmp_path / "nowhere") == ()


def test_a_damaged_line_or_table_is_told_and_the_rest_can_be_recovered(tmp_path):
    ledger = Ledger(tmp_path)
    for round in (1, 2, 3):
        ledger.record(round, "answer", "a", "server", {"x": b"abc"})
    lines = (tmp_path / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(lines.replace('"round": 2', '"round": 4'))
    with pytest.raises(LadaError, match=r"1 of 3 lines of ledger\.jsonl is not as it was written; restore"):
        read(tmp_path)
    rows, told = recover(tmp_path)
    assert [row.round for row in rows] == [1, 3]
    assert told == "1 of 3 lines of ledger.jsonl is not as it was written"
    (tmp_path / "ledger.jsonl").write_text(lines)
    ledger.close()
    assert len(read(tmp_path)) == 3
    (tmp_path / "ledger.parquet").unlink()
    with pytest.raises(LadaError, match=r"ledger\.parquet cannot be read .*No such file"):
        read(tmp_path)


def test_messages_are_summed_by_phase_to_the_server_and_from_it():
    rows = [
        LedgerRow(1, "learn", "server", "b", "paths", 3, 10, ABC),
        LedgerRow(1, "answer", "b", "server", "paths", 3, 4, ABC),
        LedgerRow(1, "learn", "server", "a", "paths", 3, 12, ABC),
        LedgerRow(1, "learn", "a", "server", "paths", 3, 1, ABC),
    ]
    assert by_phase(rows) == [
        {"round": 1, "phase": "answer", "content": "paths", "messages": 1, "up": 4, "down": 0},
        {"round": 1, "phase": "learn", "content": "paths", "messages": 3, "up": 1, "down": 22},
    ]
    assert by_phase([]) == []


def test_traffic_is_summed_over_phases_and_sorted():
    row = LedgerRow(2, "answer", "b", "server", "paths", 1, 10, ABC)
    rows = [row, replace(row, phase="judge", bytes=5), replace(row, round=1), replace(row, sender="a", bytes=0)]
    assert traffic(rows) == (
        Traffic(round=1, sender="b", receiver="server", kind="paths", messages=1, bytes=10),
        Traffic(round=2, sender="a", receiver="server", kind="paths", messages=1, bytes=0),
        Traffic(round=2, sender="b", receiver="server", kind="paths", messages=2, bytes=15),
    )
    assert traffic([]) == ()
