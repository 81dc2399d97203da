import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lada.alignment import cache
from lada.alignment.cache import cache_folder, map_vocabulary
from lada.core.errors import InputError

SOURCE = [b"cat", b"the", b" dog"]
TARGET = [b"dog", b"cart", b"the"]
EXPECTED = [1, 2, 0]


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    monkeypatch.setattr(cache, "SMALL", 0)


@pytest.fixture
def computed(monkeypatch):
    """Count how often a map is computed."""
    calls = []

    def counting(source, target, compute=cache.nearest_tokens):
        calls.append(len(source))
        return compute(source, target)

    monkeypatch.setattr(cache, "nearest_tokens", counting)
    return calls


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_the_second_time_the_map_is_read(tmp_path, computed):
    folder = tmp_path / "deep" / "cache"
    assert map_vocabulary(SOURCE, TARGET, folder).tolist() == EXPECTED
    again = map_vocabulary(SOURCE, TARGET, folder)
    assert again.tolist() == EXPECTED
    assert again.dtype == np.int32
    assert computed == [3]
    assert only_file(folder).suffix == ".npy"
    assert only_file(folder).read_bytes() == saved(EXPECTED)


@pytest.mark.parametrize(
    "other",
    [
        (TARGET, SOURCE),
        (SOURCE, [b"do", b"gcart", b"the"]),  # the same bytes cut elsewhere
        (SOURCE, [*TARGET, b""]),
        ([*SOURCE, *TARGET[:1]], TARGET[1:]),
    ],
)
def test_another_pair_is_another_file(tmp_path, computed, other):
    map_vocabulary(SOURCE, TARGET, tmp_path)
    source, target = other
    map_vocabulary(source, target, tmp_path)
    assert len(computed) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_counts_tell_sizes_from_bytes(tmp_path, computed):
    one = (1).to_bytes(8, "little")  # as a size is written
    assert map_vocabulary([one], [b"q"], tmp_path).tolist() == [0]
    assert map_vocabulary([], [one, b"q"], tmp_path).tolist() == []
    assert computed == [1, 0]
    assert len(list(tmp_path.iterdir())) == 2


def test_another_format_is_another_file(tmp_path, computed, monkeypatch):
    map_vocabulary(SOURCE, TARGET, tmp_path)
    monkeypatch.setattr(cache, "FORMAT", b"lada vocabulary map 2")
    map_vocabulary(SOURCE, TARGET, tmp_path)
    assert len(computed) == 2


def saved(ids: list[int], dtype: str = "int32") -> bytes:
    """Give the bytes of a file whose checksum is right, whatever it holds."""
    table = np.array(ids, dtype)
    stream = io.BytesIO()
    np.save(stream, np.append(table, np.array([zlib.crc32(table.tobytes())], np.uint32).view(np.int32)).astype(dtype))
    return stream.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(["a", None, 2, 3], object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        saved(EXPECTED)[:-1],
        flipped(saved(EXPECTED), -16),  # the first id: 0, in range and wrong
        saved(EXPECTED[:2]),
        saved(EXPECTED, "int64"),
        saved([1, 3, 0]),
        saved([1, -1, 0]),
        pickled(),
        b"PK\x03\x04" + bytes(40),
    ],
    ids=["empty", "text", "cut", "flipped", "short", "type", "beyond", "negative", "pickle", "zip"],
)
def test_a_file_that_is_no_map_is_replaced(tmp_path, computed, content):
    map_vocabulary(SOURCE, TARGET, tmp_path)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(content)
    assert map_vocabulary(SOURCE, TARGET, tmp_path).tolist() == EXPECTED
    assert len(computed) == 2
    assert only_file(tmp_path).read_bytes() == whole


def test_a_small_map_is_not_kept(tmp_path, computed, monkeypatch):
    monkeypatch.setattr(cache, "SMALL", 10)
    assert map_vocabulary(SOURCE, TARGET, tmp_path).tolist() == EXPECTED
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(cache, "SMALL", 9)
    map_vocabulary(SOURCE, TARGET, tmp_path)
    assert computed == [3, 3]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_only_means_no_cache(tmp_path, computed):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for _ in range(2):
        assert map_vocabulary(SOURCE, TARGET, blocked / "cache").tolist() == EXPECTED
    assert computed == [3, 3]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert map_vocabulary(SOURCE, TARGET, tmp_path).tolist() == EXPECTED
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_write_one_whole_file(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: map_vocabulary(SOURCE, TARGET, tmp_path).tolist(), range(32)))
    assert tables == [EXPECTED] * 32
    assert only_file(tmp_path).read_bytes() == saved(EXPECTED)


def test_an_empty_source_is_cached_and_an_empty_target_refused(tmp_path):
    for _ in range(2):
        assert map_vocabulary([], TARGET, tmp_path).shape == (0,)
    with pytest.raises(InputError, match="target has no tokens"):
        map_vocabulary(SOURCE, [], tmp_path)


def test_the_folder_follows_the_environment(monkeypatch, tmp_path, computed):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("LADA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/someone/.cache/lada")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert cache_folder() == Path("/var/caches/lada")
    monkeypatch.setenv("LADA_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    for _ in range(2):
        map_vocabulary(SOURCE, TARGET)
    assert computed == [3]
