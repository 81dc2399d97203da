import hashlib
import json
import os
from pathlib import Path

import pytest

from lada.core import sealed
from lada.core.clock import since
from lada.core.errors import LadaError
from lada.core.sealed import DIGESTS, is_sealed, seal, seal_written, unseal, unsealed, unsealed_file


def test_a_sealed_file_is_read_as_it_was_written_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "a.json"
    seal(file, b"one")
    seal(file.with_name("b.json"), b"two")
    assert unseal(file) == b"one"
    assert is_sealed(file)
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.json", "b.json", "digests.json"]
    file.write_bytes(b"onf")
    with pytest.raises(LadaError, match=r"a\.json' has changed since it was written; restore it from a copy"):
        unseal(file)
    file.unlink()
    with pytest.raises(LadaError, match=r"a\.json' cannot be read \(No such file"):
        unseal(file)
    unsealed(file)
    assert not is_sealed(file)
    assert unseal(file.with_name("b.json")) == b"two"


def test_a_file_and_then_its_folder_are_made_to_survive_a_power_cut(tmp_path, monkeypatch):
    synced: list[str] = []

    def note(handle: int) -> None:
        names = {path.stat().st_ino: path.name for path in (tmp_path, *tmp_path.iterdir())}
        synced.append(names[os.fstat(handle).st_ino])

    def fill(path: Path) -> None:
        path.write_bytes(b"two")

    monkeypatch.setattr(os, "fsync", note)
    seal(tmp_path / "a.json", b"one")
    assert synced == ["digests.json.next", tmp_path.name, "a.json.next", tmp_path.name]
    synced.clear()
    seal_written(tmp_path / "b.json", fill)
    assert synced == ["digests.json.next", tmp_path.name, "b.json.next", tmp_path.name]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"a.json": 1}', b"\xff"])
def test_digests_that_cannot_be_read_are_told_and_written_anew(tmp_path, content):
    seal(tmp_path / "a.json", b"one")
    (tmp_path / "digests.json").write_bytes(content)
    with pytest.raises(LadaError, match=r"digests\.json' cannot be read; restore it from a copy, or delete it"):
        unseal(tmp_path / "a.json")
    seal(tmp_path / "a.json", b"two")
    assert unseal(tmp_path / "a.json") == b"two"


def test_a_file_that_nobody_vouches_for_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.json").write_bytes(b"by hand")
    assert unseal(tmp_path / "a.json") == b"by hand"


@pytest.mark.parametrize("fails", [1, 2])
def test_a_crash_between_the_two_writes_leaves_a_file_that_is_vouched_for(tmp_path, monkeypatch, fails):
    file, count, write = tmp_path / "a.json", [0], sealed.write
    seal(file, b"one")

    def crashing(path, data):
        count[0] += 1
        if count[0] == fails:
            raise KeyboardInterrupt
        write(path, data)

    for new in (b"two", b"three"):  # twice: the digest of what is there must not be pushed out
        count[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(sealed, "write", crashing)
            with pytest.raises(KeyboardInterrupt):
                seal(file, new)
        assert unseal(file) == b"one"
    seal(file, b"four")
    assert unseal(file) == b"four"
    assert len(json.loads((tmp_path / "digests.json").read_bytes())["a.json"]) == 2


def test_the_clock_of_a_run_never_goes_back(monkeypatch):
    system, steady = [1_000.0], [50.0]
    monkeypatch.setattr("lada.core.clock.time.time", lambda: system[0])
    monkeypatch.setattr("lada.core.clock.time.monotonic", lambda: steady[0])
    now = since(990.0)
    assert now() == 10.0
    system[0], steady[0] = 0.0, 52.5
    assert now() == 12.5
    assert since(990.0)() == 0.0  # the system's clock is before the start by now


def test_a_folder_that_vouches_for_nothing_any_more_is_sound(tmp_path):
    seal(tmp_path / "a.json", b"1")
    unsealed(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    seal(tmp_path / "a.json", b"2")
    assert unseal(tmp_path / "a.json") == b"2"


def _write(target: Path, data: bytes) -> None:
    target.write_bytes(data)


def test_what_is_too_large_to_hold_is_vouched_for_likewise(tmp_path: Path):
    file = tmp_path / "rows"
    seal_written(file, lambda target: _write(target, b"first"))
    assert unseal(file) == unsealed_file(file).read_bytes() == b"first"
    seal(file, b"second")
    seal_written(file, lambda target: _write(target, b"third"))
    assert json.loads((tmp_path / DIGESTS).read_bytes())["rows"] == [
        hashlib.sha256(data).hexdigest() for data in (b"third", b"second")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [DIGESTS, "rows"]
    file.write_bytes(b"another")
    with pytest.raises(LadaError, match="has changed since it was written"):
        unsealed_file(file)
    file.unlink()
    with pytest.raises(LadaError, match="cannot be read"):
        unsealed_file(file)
