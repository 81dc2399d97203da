import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import LadaError
from lada.federation import checkpoints
from lada.federation.checkpoints import exists, files, find, remove, verify
from lada.federation.checkpoints import save as save_filled

FILES = {"state.json": b"{}", "adapter/model.safetensors": b"\x00\x01", "empty": b""}


def save(folder, contents):
    save_filled(folder, files(contents))


def load(folder):
    """Read back what was saved, by name."""
    place, _ = find(folder)
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    return {name: (place / name).read_bytes() for name in names if name != "manifest.json"}


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_round_trip_and_replacement(tmp_path):
    folder = tmp_path / "deep" / "round-1"
    assert not exists(folder)
    save(folder, FILES)
    assert exists(folder)
    assert load(folder) == FILES
    save(folder, {"state.json": b"[1]"})
    assert load(folder) == {"state.json": b"[1]"}
    save(folder, {"state.json": b"[2]"})
    assert listing(tmp_path) == [
        "deep/.round-1.before/manifest.json",
        "deep/.round-1.before/state.json",
        "deep/round-1/manifest.json",
        "deep/round-1/state.json",
    ]
    assert (tmp_path / "deep/.round-1.before/state.json").read_bytes() == b"[1]"
    remove(folder)
    assert listing(tmp_path) == []


def test_the_one_before_takes_the_place_of_an_altered_one_and_that_is_said(tmp_path):
    folder = tmp_path / "c"
    save(folder, FILES)
    save(folder, {"state.json": b"new"})
    assert find(folder) == (folder, None)
    (folder / "state.json").write_bytes(b"old")
    before, fault = find(folder)
    assert (before, fault) == (tmp_path / ".c.before", "state.json has changed since it was written")
    assert load(folder) == FILES
    (before / "empty").write_bytes(b"not empty")
    with pytest.raises(
        LadaError,
        match=r"state\.json has changed since it was written, and the previous one is not valid either; delete",
    ):
        find(folder)


@pytest.mark.parametrize("read", [load, verify])
def test_an_altered_or_missing_file_is_found(tmp_path, read):
    folder = tmp_path / "c"
    save(folder, FILES)
    verify(folder)
    (folder / "adapter" / "model.safetensors").write_bytes(b"\x00\x02")
    with pytest.raises(LadaError, match=r"adapter/model\.safetensors has changed since it was written"):
        verify(folder)
    (folder / "adapter" / "model.safetensors").unlink()
    with pytest.raises(LadaError, match=r"adapter/model\.safetensors is missing"):
        verify(folder)
    with pytest.raises(LadaError, match="there is none"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"\xff", json.dumps({"../secret": "0"}).encode()])
def test_a_broken_manifest_is_found(tmp_path, manifest):
    (tmp_path / "secret").write_bytes(b"not of this checkpoint")
    save(tmp_path / "c", FILES)
    (tmp_path / "c" / "manifest.json").write_bytes(manifest)
    with pytest.raises(LadaError, match=r"manifest\.json is missing or cannot be read"):
        find(tmp_path / "c")


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../x", "a//b", "./a", "a\\b", "manifest.json"])
def test_a_name_that_leads_elsewhere_is_refused_and_the_old_state_kept(tmp_path, name):
    save(tmp_path / "c", FILES)
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        save(tmp_path / "c", {name: b""})
    assert load(tmp_path / "c") == FILES


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_crash_at_either_rename_leaves_a_whole_state(tmp_path, monkeypatch, crash_at):
    folder, renames = tmp_path / "c", []
    save(folder, {"x": b"old"})
    rename = type(folder).rename

    def crash(path, target):
        renames.append(path)
        if len(renames) == crash_at:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            save(folder, {"x": b"new"})
    assert exists(folder)
    assert load(folder) == {"x": b"old"}
    save(folder, {"x": b"newer"})
    assert load(folder) == {"x": b"newer"}
    assert [name for name in listing(tmp_path) if not name.startswith(".")] == ["c/manifest.json", "c/x"]


dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])
array_maps = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable() and name != "__metadata__"),
    dtypes.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=3,
)


@given(array_maps)
def test_arrays_round_trip(arrays):
    data = arrays_to_bytes(arrays)
    back = bytes_to_arrays(data)
    assert list(back) == sorted(arrays)
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()
    assert arrays_to_bytes(dict(reversed(arrays.items()))) == data


def test_arrays_that_are_views_keep_their_order():
    square = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = bytes_to_arrays(arrays_to_bytes({"t": square.T, "s": square[:, ::2]}))
    np.testing.assert_array_equal(back["t"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(back["s"], [[0, 2], [3, 5]])


@pytest.mark.parametrize("data", [b"", b"garbage, not safetensors", b"\x80\x04."])
def test_bytes_that_hold_no_arrays_are_refused(data):
    with pytest.raises(LadaError, match="not in the safetensors format"):
        bytes_to_arrays(data)


def test_a_manifest_has_to_list_what_is_there_and_what_is_needed(tmp_path):
    save(tmp_path / "c", FILES)
    verify(tmp_path / "c", ["state.json"])
    with pytest.raises(LadaError, match=r"report\.json is not in manifest\.json"):
        verify(tmp_path / "c", ["state.json", "report.json"])
    (tmp_path / "c" / "adapter" / "more").write_bytes(b"")
    with pytest.raises(LadaError, match=r"adapter/more is not in manifest\.json"):
        find(tmp_path / "c")
    save(tmp_path / "d", {"x": b""})
    (tmp_path / "d" / "x").unlink()
    (tmp_path / "d" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(LadaError, match=r"manifest\.json is missing or cannot be read"):
        verify(tmp_path / "d")


def test_what_is_linked_is_one_file_with_the_digest_that_it_has(tmp_path, monkeypatch):
    save(tmp_path / "a", FILES)
    looked_at = []
    digest = checkpoints._digest
    monkeypatch.setattr(checkpoints, "_digest", lambda file: looked_at.append(file.name) or digest(file))

    def fill(folder):
        (folder / "more").write_bytes(b"1")
        return checkpoints.link(tmp_path / "a", "adapter", folder)

    save_filled(tmp_path / "b", fill)
    assert looked_at == ["more"]
    assert load(tmp_path / "b") == {"more": b"1", "adapter/model.safetensors": FILES["adapter/model.safetensors"]}
    files_ = [tmp_path / name / "adapter" / "model.safetensors" for name in ("a", "b")]
    assert files_[0].samefile(files_[1])
    save(tmp_path / "a", {"adapter/model.safetensors": b"new"})  # a new file, so that the other stays as it is
    assert load(tmp_path / "b")["adapter/model.safetensors"] == FILES["adapter/model.safetensors"]


def test_damage_to_one_link_is_found_in_all(tmp_path):
    save(tmp_path / "a", FILES)
    save_filled(tmp_path / "b", lambda folder: checkpoints.link(tmp_path / "a", "adapter", folder))
    (tmp_path / "b" / "adapter" / "model.safetensors").write_bytes(b"\x00\x02")
    for name in ("a", "b"):
        with pytest.raises(LadaError, match=r"adapter/model\.safetensors has changed since it was written"):
            verify(tmp_path / name)


@pytest.mark.parametrize("fault", ["no links", "a file is gone", "no manifest", "no such part"])
def test_where_nothing_can_be_linked_nothing_is_left_of_it(tmp_path, monkeypatch, fault):
    save(tmp_path / "a", {**FILES, "adapter/z": b"2"})
    if fault == "no links":
        monkeypatch.setattr(checkpoints.os, "link", lambda *_: (_ for _ in ()).throw(OSError("not here")))
    elif fault == "a file is gone":
        (tmp_path / "a" / "adapter" / "z").unlink()
    elif fault == "no manifest":
        (tmp_path / "a" / "manifest.json").unlink()
    (tmp_path / "b").mkdir()
    assert checkpoints.link(tmp_path / "a", "model" if fault == "no such part" else "adapter", tmp_path / "b") is None
    assert listing(tmp_path / "b") == []


def test_what_is_not_to_be_read_is_not_verified(tmp_path):
    save(tmp_path / "c", FILES)
    (tmp_path / "c" / "adapter" / "model.safetensors").write_bytes(b"spoilt")
    verify(tmp_path / "c", unread="adapter")
    (tmp_path / "c" / "state.json").write_bytes(b"spoilt")
    with pytest.raises(LadaError, match=r"state\.json has changed since it was written"):
        verify(tmp_path / "c", unread="adapter")
