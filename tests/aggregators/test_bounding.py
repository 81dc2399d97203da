"""Clipping, capping and holding: by hand, as properties, and through the server's pool."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make_party
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rules import aggregate

from lada.aggregators.bounding import Bounds, bound, cap, scales
from lada.aggregators.factors import average_padded, average_products, bounded_padded
from lada.codecs import adapters
from lada.core.errors import FederationError
from lada.rounds.averaging import ADAPTER, aggregate_updates, catch_up, handed_out
from lada.rounds.options import AveragingOptions
from lada.rounds.party import Party

A, B = "m.q_proj.lora_A.default.weight", "m.q_proj.lora_B.default.weight"
LARGEST = float(np.finfo(np.float32).max)
Factors = dict[str, np.ndarray]


def told(samples: int, *values: float) -> dict[str, bytes]:
    return {ADAPTER: adapters.encode({"w": np.array(values, np.float32)}, samples)}


def server() -> Party:
    return make_party("llm", set(), FilePath("unused"))


def pooled(party: Party, replies: dict[str, dict[str, bytes]], round: int = 1, **options: Any) -> list[float]:
    return aggregate_updates(party, replies, round, AveragingOptions(**options)).found.weights["w"].tolist()


def test_scales_by_hand():
    # The lower median of 1, 2, 4 and 100 is 2; nobody may be longer than 3 times that.
    by, notices = scales({"a": 1.0, "b": 100.0, "c": 4.0, "d": 2.0}, 3.0)
    assert by == {"a": 1.0, "b": 0.06, "c": 1.0, "d": 1.0}
    assert notices == ("the update of client 'b' has norm 100, more than 3 times the median, 2; it was clipped to 6",)
    assert scales({"a": 5.0, "b": 5.0, "c": 5.0}, 1.0) == ({"a": 1.0, "b": 1.0, "c": 1.0}, ())
    assert scales({"a": 0.0, "b": 0.0}, 3.0) == ({"a": 1.0, "b": 1.0}, ())
    assert scales({"a": 0.0, "b": 7.0, "c": 0.0}, 3.0)[0]["b"] == 1.0  # those that did not move set no measure
    assert scales({"a": 1.0, "b": 100.0}, None) == ({"a": 1.0, "b": 1.0}, ())


def test_caps_by_hand():
    capped, notices = cap({"a": 100, "b": 999_999_999, "c": 120}, 3.0)
    assert capped == {"a": 100, "b": 360, "c": 120}
    assert notices == (
        "client 'b' claims 999999999 samples and counts for 360: no client counts for more than 3 times the median",
    )
    assert cap({"a": 0, "b": 0}, 3.0) == ({"a": 0, "b": 0}, ())
    assert cap({"a": 1, "b": 9}, None)[0] == {"a": 1, "b": 9}


def test_three_are_held_to_the_median_by_hand():
    party = server()
    replies = {"a": told(1, 1.0, -1.0), "b": told(1, 2.0, 0.0), "c": told(1, 9.0, 3.0)}
    assert pooled(party, replies, clip=None) == [2.0, 0.0]
    (notice,) = party.report.notices
    assert notice == (
        "round 1: adapters: 2 of 2 coordinates of the average were clamped to the range without the smallest and "
        "largest value; share of values outside it: 'a' 100.0 %, 'b' 0.0 %, 'c' 100.0 %"
    )


def test_the_mean_of_five_stays_where_it_is_within_the_range_by_hand():
    # Without the least and the greatest, 0..4 leave 1..3, and 0, 0, 0, 0, 10 leave 0.
    replies = {f"c{i}": told(1, float(i), 10.0 * (i == 4)) for i in range(5)}
    assert pooled(server(), replies, clip=None) == [2.0, 0.0]
    assert pooled(server(), replies, clip=None, malicious=0) == [2.0, 2.0]


def test_an_update_is_clipped_beside_the_average_that_everybody_went_on_with():
    # From 100 the updates are 1, 3 and -300; the median's norm is 3, so the last is clipped to -9.
    party = server()
    handed_out(party, told(1, 100.0)[ADAPTER], [])
    replies = {"a": told(1, 101.0), "b": told(1, 103.0), "c": told(1, -200.0)}
    assert pooled(party, replies, malicious=0) == [pytest.approx(100 - 5 / 3)]
    assert [n for n in party.report.notices if "'c' has norm 300," in n and "clipped to 9" in n]


def test_a_zero_adapter_that_claims_all_samples_wipes_nobody():
    party = server()
    replies = {"a": told(100, 4.0), "b": told(100, 4.0), "c": told(999_999_999, 0.0)}
    assert pooled(party, replies, malicious=0) == [pytest.approx(4 * 200 / 500)]
    assert pooled(server(), replies) == [4.0]
    assert any("claims 999999999 samples and counts for 300" in notice for notice in party.report.notices)


def test_two_are_clipped_and_a_notice_says_that_nobody_knows_who_is_right():
    party = server()
    assert pooled(party, {"a": told(1, 1.0), "b": told(1, adapters.GREATEST)}) == [2.0]  # 1 and 3
    assert party.report.notices[-1].endswith("so their average is not protected against a hostile one")
    assert pooled(server(), {"a": told(1, 1.0)}) == [1.0]


def test_what_is_out_of_range_goes_to_nobody():
    large = {name: np.full((2, 2), adapters.GREATEST, np.float32) for name in (A, B)}
    replies = {"a": {ADAPTER: adapters.encode(large, 1)}}
    with pytest.raises(FederationError, match="nor any single one has numbers in range"):
        aggregate_updates(server(), replies, 1, AveragingOptions(aggregation="flexlora"))


def test_a_spoilt_average_of_a_checkpoint_goes_to_nobody():
    party = server()
    handed_out(party, b"spoilt", ["a"])
    with pytest.raises(FederationError, match="the newest average is unusable"):
        catch_up(party, ["a", "b"])


anything = st.floats(-adapters.GREATEST, adapters.GREATEST, width=32)


@settings(deadline=None)
@given(st.data(), st.integers(1, 2), st.integers(0, 3), st.sampled_from([None, 1.0, 3.0]))
def test_no_hostile_value_leads_out_of_the_range_of_the_honest(data: Any, hostile: int, more: int, clip: float | None):
    clients = 2 * hostile + 1 + more
    rows = data.draw(hnp.arrays(np.float32, (clients, 3), elements=anything))
    samples = data.draw(st.lists(st.integers(0, 10**9 - 1), min_size=clients, max_size=clients))
    start = data.draw(st.none() | hnp.arrays(np.float32, 3, elements=anything))
    told = {f"c{i}": {"w": row} for i, row in enumerate(rows)}
    starts = {} if start is None else {client: {"w": start} for client in told}
    claims, _ = cap(dict(zip(told, samples, strict=True)), clip)
    merged = bound(told, starts, Bounds(hostile, clip), lambda clipped: aggregate(clipped, claims, "mean", 0))
    found = merged.weights["w"].astype(np.float32)
    honest = rows[hostile:]  # whichever are hostile: the first will do, since names say nothing
    assert (found >= honest.min(0)).all()
    assert (found <= honest.max(0)).all()


@settings(deadline=None)
@given(st.data(), st.sampled_from(["mean", "padded", "products"]))
def test_without_bounds_the_mean_is_that_of_the_papers_to_the_bit(data: Any, rule: str):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    told = {c: {A: rng.normal(size=(2, 3)).astype("f"), B: rng.normal(size=(4, 2)).astype("f")} for c in "abcd"}
    samples = {c: int(rng.integers(0, 99)) for c in told}
    match rule:
        case "mean":
            found = bound(told, told, Bounds(), lambda w: aggregate(w, samples, "mean", 0)).weights
            expected = aggregate(told, samples, "mean", 0)
        case "padded":
            found, expected = bounded_padded(told, told, Bounds()).weights, average_padded(told)
        case _:
            found = average_products(told, samples, told, Bounds()).weights
            expected = average_products(told, samples).weights
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def draw(rng: np.random.Generator, rank: int) -> Factors:
    return {A: rng.normal(size=(rank, 12)).astype("f"), B: rng.normal(size=(15, rank)).astype("f")}


def product(weights: Any) -> np.ndarray:
    return weights[B].astype(np.float64) @ weights[A].astype(np.float64)


def extremes(stack: np.ndarray) -> float:
    return float(np.linalg.norm(np.abs(stack).max(0)))


@pytest.mark.parametrize("lie", [3e38, 1e-10, -1000.0])
def test_a_hostile_product_adds_nothing_to_what_the_honest_span(lie: float):
    rng = np.random.default_rng(0)
    told = {"a": draw(rng, 2), "b": draw(rng, 3), "c": draw(rng, 2)}
    told["c"] = {
        name: np.clip(lie * array.astype(float), -LARGEST, LARGEST).astype("f") for name, array in told["c"].items()
    }
    found = average_products(told, {"a": 1, "b": 1, "c": 10**9 - 1}, {}, Bounds(1, 3.0))
    honest = np.stack([product(told["a"]), product(told["b"])])
    assert np.linalg.norm(product(found.weights)) <= extremes(honest) * (1 + 1e-9)
    # Slow and obvious: the median of the products, within what all factors span, cut to rank 3.
    dense = np.median([product(told[c]) for c in "abc"], axis=0)
    within = _onto([told[c][B] for c in "abc"]) @ dense @ _onto([told[c][A].T for c in "abc"])
    assert product(found.weights) == pytest.approx(_nearest(within, 3), abs=1e-6)


def _onto(parts: list[np.ndarray]) -> np.ndarray:
    """Return the projection onto what the columns span."""
    columns = np.concatenate(parts, axis=1).astype(np.float64)
    columns /= np.maximum(np.abs(columns).max(0), 1e-300)
    return columns @ np.linalg.pinv(columns)


def _nearest(dense: np.ndarray, rank: int) -> np.ndarray:
    u, s, v = np.linalg.svd(dense)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def test_products_are_clipped_by_hand():
    # Products are 1 and -300 at the top left; the second is clipped to -3.
    one = {A: np.array([[1, 0]], "f"), B: np.array([[1], [0]], "f")}
    other = {A: np.array([[300, 0]], "f"), B: np.array([[-1], [0]], "f")}
    found = average_products({"a": one, "b": other}, {"a": 1, "b": 1}, {}, Bounds(1, 3.0))
    assert product(found.weights) == pytest.approx(np.array([[-1.0, 0], [0, 0]]))
    assert "'b' has norm 300" in found.notices[0]
    # Both started from 1: a has not moved, so b sets the measure and the average is plain.
    found = average_products({"a": one, "b": other}, {"a": 1, "b": 1}, {"a": one, "b": one}, Bounds(1, 3.0))
    assert product(found.weights)[0, 0] == pytest.approx(-149.5)


def test_padded_factors_are_held_by_hand():
    low = {A: np.array([[1, 0]], "f"), B: np.array([[1], [0]], "f")}
    wide = {A: np.array([[LARGEST, 1], [7, LARGEST]], "f"), B: np.array([[-LARGEST, 5], [0, LARGEST]], "f")}
    found = bounded_padded({"a": low, "b": low, "c": wide}, {}, Bounds(1, 3.0)).weights
    assert found[A].tolist() == [[1, 0], [0, 0]]
    assert found[B].tolist() == [[1, 0], [0, 0]]
