"""Log-probs in steps: numbers worked out by hand, how far they are off, and the sum that must not pass 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs.quantise import from_planes, planes_size, quantise, restore, to_planes
from lada.core.errors import CodecError


def test_by_hand():
    greatest, steps = quantise(np.array([[-8.0, -0.5, -1.53]]))
    assert greatest.tolist() == [-0.5]
    assert steps.tolist() == [[120, 0, 16]]  # 7.5 nats; none; 1.03 nats, 16.48 steps
    assert restore(greatest, steps).tolist() == [[-8.0, -0.5, -1.5]]


def test_a_row_whose_sum_would_pass_1_is_lowered_as_a_whole():
    # Half-precision log 1/2 is -1420 / 2048. log 1/4 lies 11.09 steps below: 11, so that the sum becomes 1.0026. Its
    # logarithm is 5.35 / 2048: -1425 / 2048, and a unit more to be on the safe side.
    greatest, steps = quantise(np.log([[0.5, 0.25, 0.25], [0.4, 0.2, 0.2]]))
    assert steps.tolist() == [[0, 11, 11], [0, 11, 11]]
    assert greatest[0] == -1426 / 2048
    assert greatest[1] == np.float16(np.log(0.4))  # a sum of 0.8 has room
    assert 0.999 < np.exp(restore(greatest, steps)[0].astype(float)).sum() <= 1


@pytest.mark.parametrize("certain", [0.0, -1e-12, -3e-8, -1e-6, -2e-3])
def test_certainty_is_kept_and_never_positive(certain: float):
    greatest, steps = quantise(np.array([[certain, -30.0]]))
    value = restore(greatest, steps)[0, 0]
    assert value <= 0
    assert abs(value - certain) < 1e-6


@pytest.mark.parametrize("around", [0.0, -2.0, -11.0, -40.0])
def test_errors(around: float):
    draw = np.random.default_rng(0)
    rows = around - draw.uniform(0, 1, (2000, 1)) - draw.exponential(2, (2000, 32)).cumsum(1)
    rows -= np.log(np.exp(rows).sum(1, keepdims=True).clip(1))
    error = np.abs(restore(*quantise(rows)) - rows)
    assert error.mean() <= 0.02
    assert error.max() <= 1 / 16
    outside = np.exp(rows).sum(1) < 0.96  # no rounding lifts such a row above 1
    assert error[outside].max() <= 1 / 32 + 1e-5


@st.composite
def distributions(draw: st.DrawFn) -> np.ndarray:
    k = draw(st.integers(1, 6))
    row = st.lists(st.floats(-60, 0), min_size=k, max_size=k)
    logits = np.array(draw(st.lists(row, min_size=1, max_size=5)))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))  # nothing is left for a tail


@given(distributions())
def test_the_tail_is_never_negative_and_what_was_read_is_written_alike(log_probs: np.ndarray):
    greatest, steps = quantise(log_probs)
    received = restore(greatest, steps)
    assert (np.exp(received.astype(np.float64)).sum(1) <= 1).all()
    assert np.abs(received - log_probs).max() <= 1 / 16 + 1 / 32
    again = quantise(received)
    assert again[0].tolist() == greatest.tolist()
    assert again[1].tolist() == steps.tolist()


@pytest.mark.parametrize(
    ("greatest", "step", "said"),
    [
        (np.nan, 0, "above zero or not finite"),
        (-np.inf, 0, "above zero or not finite"),
        (2**-24, 90, "above zero or not finite"),
        (0.0, 0, "more than 1"),
        (-0.5, 1, "more than 1"),
    ],
)
def test_rows_that_nobody_wrote(greatest: float, step: int, said: str):
    steps = np.array([[90, 90, 90], [0, step, step]], np.uint16)
    with pytest.raises(CodecError, match=said):
        restore(np.array([-1.0, greatest], np.float16), steps)


def test_planes_by_hand():
    # 1, 2, 3: the lowest bits are 1 0 1, the next 0 1 1.
    planes = to_planes(np.array([[1, 2, 3]]), 2)
    assert planes.tolist() == [[0b10100000], [0b01100000]]
    assert from_planes(planes.reshape(-1), 3, 2).tolist() == [1, 2, 3]
    assert planes_size(3, 2) == 2


@given(st.lists(st.integers(0, 2**16 - 1)))
def test_planes_round_trip(numbers: list[int]):
    bits = max(numbers, default=0).bit_length()
    planes = to_planes(np.array(numbers, np.uint32), bits).reshape(-1)
    assert planes.size == planes_size(len(numbers), bits)
    assert from_planes(planes, len(numbers), bits).tolist() == numbers
