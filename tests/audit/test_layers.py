"""Every form in which a message part can be read is searched."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.audit import layers as module
from lada.audit.frames import frame_end
from lada.audit.layers import layers
from lada.codecs import paths, soft_targets, vocabulary
from lada.codecs.judgements import TOP
from lada.codecs.soft_targets import MARK
from lada.core.terms import Knowledge, Likelihood, Path, SparseLogProbs, TokenScores

SECRET = b"the secret"


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def packed(data: bytes) -> bytes:
    """Return a frame whose letters are packed too, so that the text does not stand in it."""
    letters = np.random.default_rng(0).choice(list(b"the scr"), 2000).astype(np.uint8).tobytes()
    frame = zstd(letters + data + letters[::-1])
    assert data not in frame
    return frame


def names(data: bytes, text: bytes, **more) -> list[str]:
    """Return the layers in which a text stands."""
    return [name for name, layer in layers(data, **more) if text in layer]


def test_a_text_is_found_as_sent_and_in_frames_within_frames_wherever_they_begin():
    assert names(SECRET, SECRET) == ["as sent"]
    assert names(b"ab" + packed(SECRET) + b"behind", SECRET) == ["as sent, unpacked"]
    assert names(packed(b"x" + packed(SECRET)), SECRET) == ["as sent, unpacked, unpacked"]
    assert names(b"\x00" * 8 + packed(b"other") + packed(SECRET), SECRET) == ["as sent, unpacked"]


@given(st.binary(max_size=300), st.binary(max_size=40), st.binary(max_size=40))
def test_a_frame_ends_where_its_last_byte_is(data: bytes, before: bytes, behind: bytes):
    frame = zstd(data)
    assert frame_end(before + frame + behind, len(before)) == len(before + frame)
    assert frame_end(before + frame[:-1], len(before)) is None


def test_frames_of_many_blocks_and_of_runs_end_where_they_end():
    noise = np.random.default_rng(0).bytes(300_000)
    for data in (noise, b"a" * 300_000, noise + b"a" * 300_000):
        frame = zstd(data)
        assert frame_end(frame + b"more", 0) == len(frame)


def test_what_only_looks_like_a_frame_hides_nothing():
    broken = b"\x28\xb5\x2f\xfd" + b"\xff" * 20
    assert names(broken + packed(SECRET), SECRET) == ["as sent, unpacked"]
    assert names(broken + SECRET, SECRET) == ["as sent"]


def test_json_is_read_with_its_escapes_undone():
    data = json.dumps([{"notices": ["a \u0142 b"]}]).encode()
    assert "ł".encode() not in data
    assert names(data, "ł".encode()) == ["as sent, JSON"]
    assert names(b'{"' + SECRET + b'": 1}', SECRET) == ["as sent", "as sent, JSON"]
    assert names(b"[not json " + SECRET, SECRET) == ["as sent"]


def test_paths_are_read():
    told = Knowledge("a", 1, (Path("s1", "a", "so the secret is 5", "5", True, Likelihood(-1.0, -1.0, 2, 18)),))
    data = paths.encode(told)
    assert names(data, SECRET)[-1] == "as sent, unpacked"


@pytest.mark.parametrize("mark", [MARK, TOP])
def test_token_scores_are_spelled_out_their_own_text_and_the_likeliest(mark: str):
    words = [b"the ", b"secret", b"public", b"<end>"]
    ids = np.array([[0, 1], [1, 2]], np.int32)
    top = SparseLogProbs(ids, np.array([[-0.1, -3.0], [-0.2, -2.0]], np.float32))
    scores = TokenScores(np.array([0, 2], np.int32), np.array([[0, 4], [4, 10]], np.int32), top)
    data = soft_targets.encode({"s1": scores}, vocabulary_size=4, party="a", round=1, mark=mark)
    assert names(data, SECRET) == []
    assert names(data, SECRET, vocabulary=words) == ["tokens"]
    assert names(data, b"the public", vocabulary=words) == ["tokens"]
    assert names(data, SECRET, vocabulary=words[:3]) == []  # another party's vocabulary
    assert names(vocabulary.encode(words, 3), b"secret")[-1] == "as sent, unpacked"


def test_a_text_across_the_edge_of_a_window_is_found(monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 40)
    monkeypatch.setattr(module, "OVERLAP", 16)
    for start in range(70):
        data = b"." * start + SECRET + b"." * (90 - start)
        assert names(data, SECRET), start
        assert names(zstd(data), SECRET), start
        assert max(len(layer) for _, layer in layers(data)) <= 40
    assert list(layers(b"")) == [("as sent", b"")]
