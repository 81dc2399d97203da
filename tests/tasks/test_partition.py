from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.tasks.options import PartitionOptions
from lada.tasks.partition import partition


def samples_of(**counts: int) -> list[Sample]:
    return [Sample(f"{domain}{n}", f"{domain} {n}?", domain=domain) for domain in counts for n in range(counts[domain])]


def spread(samples, clients, by="domain", seed=0, owners=None, alpha=0.5):
    options = PartitionOptions.model_validate({"by": by, "alpha": alpha})
    return partition(samples, owners or [None] * len(samples), clients, options, seed)


def domains(parts) -> dict[str, Counter[str]]:
    return {name: Counter(sample.domain for sample in part) for name, part in parts.items()}


ABCD = samples_of(a=4, b=6, c=5, d=1)
NAMES = {"north": (), "south": (), "west": ()}


def test_domains_are_dealt_in_turn():
    assert domains(spread(ABCD, NAMES)) == {"north": {"a": 4, "d": 1}, "south": {"b": 6}, "west": {"c": 5}}


def test_listed_domains():
    clients = {"west": ("a", "c"), "north": ("b",), "south": ("d",)}
    assert domains(spread(ABCD, clients)) == {"north": {"b": 6}, "south": {"d": 1}, "west": {"a": 4, "c": 5}}


def test_clients_that_list_none_get_what_is_left():
    clients = {"north": ("c",), "south": (), "west": ()}
    assert domains(spread(ABCD, clients)) == {"north": {"c": 5}, "south": {"a": 4, "d": 1}, "west": {"b": 6}}


def test_a_shared_domain_is_dealt_evenly():
    parts = domains(spread(samples_of(a=5, b=2), {"north": ("a",), "south": ("a", "b")}))
    assert parts == {"north": {"a": 3}, "south": {"a": 2, "b": 2}}
    turned = domains(spread(samples_of(a=5, b=2), {"south": ("b", "a"), "north": ("a",)}))
    assert turned == parts


def test_iid_is_even():
    assert [len(part) for part in spread(ABCD, NAMES, "iid").values()] == [6, 5, 5]


def test_given():
    owners = ["north", "south"] * 8
    parts = spread(ABCD, {"north": (), "south": ()}, "given", owners=owners)
    assert parts == {"north": tuple(ABCD[::2]), "south": tuple(ABCD[1::2])}


def test_dirichlet_skew_follows_alpha():
    samples = samples_of(**{f"d{n}": 50 for n in range(20)})

    def largest_share(alpha: float) -> float:
        parts = domains(spread(samples, NAMES, "dirichlet", alpha=alpha))
        return sum(max(part[f"d{n}"] for part in parts.values()) for n in range(20)) / len(samples)

    assert largest_share(0.05) > 0.85
    assert largest_share(1000.0) < 0.38


@given(
    st.lists(st.sampled_from("abcde"), min_size=1, max_size=60),
    st.integers(1, 4),
    st.sampled_from(["domain", "dirichlet", "given", "iid"]),
    st.integers(0, 10**6),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=100)
def test_every_sample_goes_to_exactly_one_client(kinds, count, by, seed, random):
    samples = [Sample(str(n), f"{kind} {n}?", domain=kind) for n, kind in enumerate(kinds)]
    clients: dict[str, tuple[str, ...]] = {f"client-{n}": () for n in range(count)}
    owners = [f"client-{n % count}" for n in range(len(samples))]
    try:
        parts = spread(samples, clients, by, seed, owners)
    except InputError:
        assume(False)
        raise
    assert list(parts) == sorted(clients)
    assert all(parts.values())
    assert sorted((s for part in parts.values() for s in part), key=lambda s: int(s.id)) == samples
    for part in parts.values():
        assert [int(sample.id) for sample in part] == sorted(int(sample.id) for sample in part)
    shuffled = list(clients)
    random.shuffle(shuffled)
    assert spread(samples, dict.fromkeys(shuffled, ()), by, seed, owners) == parts


@pytest.mark.parametrize("by", ["iid", "dirichlet"])
def test_seeds(by):
    samples = samples_of(a=60, b=60)
    assert spread(samples, NAMES, by, 1) == spread(samples, NAMES, by, 1)
    assert spread(samples, NAMES, by, 1) != spread(samples, NAMES, by, 2)


@pytest.mark.parametrize(
    ("by", "clients", "owners", "message"),
    [
        (
            "domain",
            {f"c{n}": () for n in range(5)},
            None,
            r"'c4' is left with no training samples; .*partition.by: iid",
        ),
        ("domain", {"c": ("aa",)}, None, r"'c' lists domain 'aa', which the data lacks; it has a, b, c, d; did you"),
        ("domain", {"c": ("a", "b", "c")}, None, r"no client lists domain 'd'"),
        (
            "iid",
            {f"c{n:02d}": () for n in range(17)},
            None,
            r"'c16' is left with no training samples; use fewer clients",
        ),
        ("iid", {"c": ("a",)}, None, r"'c' lists domains, but partition.by is 'iid'"),
        ("given", {"c": ()}, [None] * 16, r"sample 'a0' names no client; fill"),
        ("given", {"north": ()}, ["nort"] * 16, r"sample 'a0' belongs to client 'nort'; .*did you mean 'north'"),
        (
            "given",
            {"c": (), "d": ()},
            ["c"] * 16,
            r"'d' is left with no training samples; name it in the client column",
        ),
        ("dirichlet", {f"c{n:02d}": () for n in range(17)}, None, r"no training samples; raise partition.alpha"),
    ],
)
def test_refusals(by, clients, owners, message):
    with pytest.raises(InputError, match=message):
        spread(ABCD, clients, by, owners=owners)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_alpha_is_positive(alpha):
    with pytest.raises(ValueError, match="alpha"):
        PartitionOptions(alpha=alpha)
