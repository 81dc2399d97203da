from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from lada.codecs import adapters, masked
from lada.core.errors import CodecError

WEIGHTS = {
    "b.lora_B": np.array([[0.5, -0.0], [1e-30, 1e4]], np.float32),
    "a.lora_A": np.array([1.5, -2.0], np.float32),
    "scale": np.array(2.0, np.float32),
}
GOOD = adapters.encode(WEIGHTS, 40)
MASKED = masked.encode(np.arange(3, dtype=np.uint64), (("é\n", (2,)),))


def alike(received: Mapping[str, np.ndarray], sent: Mapping[str, np.ndarray]) -> None:
    assert list(received) == sorted(sent)
    for name, array in received.items():
        assert array.dtype == np.float32
        assert array.shape == sent[name].shape
        assert array.tobytes() == sent[name].astype(np.float32).tobytes()


def test_round_trip_to_the_bit():
    weights, samples = adapters.decode(GOOD)
    alike(weights, WEIGHTS)
    assert samples == 40
    weights["scale"][...] += 1  # nobody else's memory


@given(st.dictionaries(st.text(), st.lists(st.floats(-1e4, 1e4, width=32)), max_size=4))
def test_any_names_and_values(values: dict[str, list[float]]):
    values.pop("__metadata__", None)
    sent = {name: np.array(numbers, np.float32) for name, numbers in values.items()}
    alike(adapters.decode(adapters.encode(sent, 0))[0], sent)


def test_half_precision_and_transposed_arrays_come_back_as_float32():
    sent = {"half": np.array([0.1, -1e4], np.float16), "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    alike(adapters.decode(adapters.encode(sent, 1))[0], sent)


def test_safetensors_alone_reads_it():
    assert load(GOOD)["a.lora_A"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("array", "samples", "said"),
    [
        (np.array([np.nan], np.float32), 1, "'w' holds a number that is not finite"),
        (np.array([-np.inf], np.float16), 1, "'w' holds a number that is not finite"),
        (np.array([0, -10000.01], np.float32), 1, "'w' holds a number beyond 10000"),
        (np.array([3e38], np.float32), 1, "'w' holds a number beyond 10000"),
        (np.array([1.0]), 1, "'w' is of type float64"),
        (np.array([2**40]), 1, "'w' is of type int64"),
        (np.array(["1"]), 1, "'w' is of type <U1"),
        (np.array([1.0], np.float32), -1, "samples: expected a number"),
    ],
)
def test_values_that_cannot_be_sent(array: np.ndarray, samples: int, said: str):
    with pytest.raises(CodecError, match=said):
        adapters.encode({"w": array}, samples)


def forged(array: np.ndarray, **header: str) -> bytes:
    return save({"w": array}, metadata=header)


@pytest.mark.parametrize(
    ("array", "header", "said"),
    [
        (np.array([np.inf], np.float32), {}, "a weight holds a number that is not finite"),
        (np.array([1.0], np.float16), {}, "a weight of type float16"),
        (np.array([1.0]), {}, "a weight of type float64"),
        (np.array([1.0], np.float32), {"kind": "weights"}, "of another kind"),
        (np.array([1.0], np.float32), {"samples": "1.5"}, "samples: expected a number"),
        (np.array([1.0], np.float32), {"samples": "9" * 5000}, "samples: expected a number"),
    ],
)
def test_a_sender_that_does_not_check(array: np.ndarray, header: dict[str, str], said: str):
    with pytest.raises(CodecError, match=said):
        adapters.decode(forged(array, **{"kind": "adapters", "samples": "1", **header}))


def test_no_metadata():
    with pytest.raises(CodecError, match="of another kind"):
        adapters.decode(save(WEIGHTS))
    with pytest.raises(CodecError, match="lacks 'samples'"):
        adapters.decode(forged(WEIGHTS["scale"], kind="adapters"))


def test_the_limit_is_exact():
    alike(adapters.decode(GOOD, limit=len(GOOD))[0], WEIGHTS)
    with pytest.raises(CodecError, match="expected at most"):
        adapters.decode(GOOD, limit=len(GOOD) - 1)


@given(st.integers(0, len(GOOD) - 1))
def test_truncated_bytes(end: int):
    with pytest.raises(CodecError):
        adapters.decode(GOOD[:end])


@settings(max_examples=100)
@given(st.data())
def test_flipped_bytes_give_a_codec_error_or_valid_weights(choice: Any):
    hurt = bytearray(GOOD)
    for _ in range(choice.draw(st.integers(1, 3))):
        hurt[choice.draw(st.integers(0, len(hurt) - 1))] ^= choice.draw(st.integers(1, 255))
    try:
        received, samples = adapters.decode(bytes(hurt))
    except CodecError:
        return
    alike(adapters.decode(adapters.encode(received, samples))[0], received)


def test_equal_adapters_are_equal_bytes():
    assert {adapters.encode(WEIGHTS, 40) for _ in range(50)} == {GOOD}
    assert {masked.encode(np.arange(3, dtype=np.uint64), (("é\n", (2,)),)) for _ in range(50)} == {MASKED}
