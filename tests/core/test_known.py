"""What is known of a payload is found once, and let go of when it is forgotten."""

import hashlib
from collections.abc import Iterator

import pytest

from lada.core.known import Known, forget, known, read


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(100))


def test_a_part_is_read_once(numbers: Iterator[int]):
    payload = Known({"a": b"1"})
    assert [read(payload, "a", lambda: next(numbers)) for _ in range(3)] == [0, 0, 0]
    assert read(payload, "b", lambda: next(numbers)) == 1
    forget(payload)
    assert read(payload, "a", lambda: next(numbers)) == 2


def test_nothing_is_known_of_a_plain_payload(numbers: Iterator[int]):
    payload = {"a": b"1"}
    assert [read(payload, "a", lambda: next(numbers)) for _ in range(3)] == [0, 1, 2]
    forget(payload)


def test_what_could_not_be_read_is_not_known(numbers: Iterator[int]):
    payload = Known({})

    def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read(payload, "a", broken)
    assert read(payload, "a", lambda: next(numbers)) == 0


def test_a_part_is_hashed_once(monkeypatch: pytest.MonkeyPatch):
    payload = known({"a": b"1", "b": b""})
    assert known(payload) is payload
    assert (dict(payload), payload.size("a"), len(payload)) == ({"a": b"1", "b": b""}, 1, 2)
    assert payload.digest("a") == hashlib.sha256(b"1").hexdigest()
    monkeypatch.setattr("lada.core.known.hashlib.sha256", None)
    assert payload.digest("a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
