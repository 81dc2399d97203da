import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lada.alignment import cache
from lada.alignment.cache import cache_folder, cached_map
from lada.core.errors import InputError

SOURCE = [b"cat", b"the", b" dog"]
TARGET = [b"dog", b"cart", b"the"]
EXPECTED = [1, 2, 0]


@pytest.fixture
def computed(monkeypatch):
    """Count how often a map is computed."""
    calls = []

    def counting(source, target, compute=cache.map_vocabulary):
        calls.append(len(source))
        return compute(source, target)

    monkeypatch.setattr(cache, "map_vocabulary", counting)
    return calls


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_the_second_time_the_map_is_read(tmp_path, computed):
    folder = tmp_path / "deep" / "cache"
    assert cached_map(SOURCE, TARGET, folder).tolist() == EXPECTED
    again = cached_map(SOURCE, TARGET, folder)
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
    cached_map(SOURCE, TARGET, tmp_path)
    source, target = other
    cached_map(source, target, tmp_path)
    assert len(computed) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_counts_tell_sizes_from_bytes(tmp_path, computed):
    one = (1).to_bytes(8, "little")  # as a size is written
    assert cached_map([one], [b"q"], tmp_path).tolist() == [0]
    assert cached_map([], [one, b"q"], tmp_path).tolist() == []
    assert computed == [1, 0]
    assert len(list(tmp_path.iterdir())) == 2


def test_another_format_is_another_file(tmp_path, computed, monkeypatch):
    cached_map(SOURCE, TARGET, tmp_path)
    monkeypatch.setattr(cache, "FORMAT", b"lada vocabulary map 2")
    cached_map(SOURCE, TARGET, tmp_path)
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
    cached_map(SOURCE, TARGET, tmp_path)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(content)
    assert cached_map(SOURCE, TARGET, tmp_path).tolist() == EXPECTED
    assert len(computed) == 2
    assert only_file(tmp_path).read_bytes() == whole


def test_equal_vocabularies_map_id_to_id_without_a_file(tmp_path, computed):
    table = cached_map([b"a", b"b", b"a"], [b"a", b"b", b"a"], tmp_path)
    assert table.tolist() == [0, 1, 2]
    assert table.dtype == np.int32
    assert computed == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_only_means_no_cache(tmp_path, computed):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for _ in range(2):
        assert cached_map(SOURCE, TARGET, blocked / "cache").tolist() == EXPECTED
    assert computed == [3, 3]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cached_map(SOURCE, TARGET, tmp_path).tolist() == EXPECTED
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_write_one_whole_file(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: cached_map(SOURCE, TARGET, tmp_path).tolist(), range(32)))
    assert tables == [EXPECTED] * 32
    assert only_file(tmp_path).read_bytes() == saved(EXPECTED)


def test_an_empty_source_is_cached_and_an_empty_target_refused(tmp_path):
    for _ in range(2):
        assert cached_map([], TARGET, tmp_path).shape == (0,)
    with pytest.raises(InputError, match="target has no tokens"):
        cached_map(SOURCE, [], tmp_path)


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
        cached_map(SOURCE, TARGET)
    assert computed == [3]
