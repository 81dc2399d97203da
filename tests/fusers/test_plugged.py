"""A fuser of one's own: it remembers, and what one receiver learns of is not what another does."""

from collections.abc import Iterator

import pytest
from own_methods import registered

from lada.core.terms import Allocation, Knowledge, Likelihood, Path, Selection
from lada.fusers.base import FUSERS
from lada.rounds.fusing import Fusion
from lada.rounds.knowledge import Offer


@pytest.fixture(autouse=True)
def plugged() -> Iterator[None]:
    with registered("fair"):
        yield


def test_each_receiver_is_taught_by_all_in_turn():
    def learns_of(receiver: str, state) -> tuple[dict, dict[str, list[str]]]:
        fusion = Fusion(FUSERS.make("fair", {}), state, receiver, 1, {})
        for teacher in ("b", "a"):
            paths = tuple(Path(each, teacher, "answer 1", "1", None, Likelihood(-1, -1, 1, 8)) for each in "xyz")
            choices = tuple(Selection(each, "teacher", 1.0, "") for each in "xyz")
            fusion.add(Offer(Knowledge(teacher, 1, paths)), Allocation(teacher, receiver, 1, choices))
        won = {teacher: [p.sample_id for p in each.offer.knowledge.paths] for teacher, each in fusion.won().items()}
        return dict(fusion.state), won

    state, won = learns_of("llm", {})
    assert won == {"a": ["x", "z"], "b": ["y"]}
    state, won = learns_of("other", state)
    assert won == {"a": ["x", "z"], "b": ["y"]}  # whom `a` has taught twice already matters to nobody else
    _, won = learns_of("llm", state)
    assert won == {"a": ["y"], "b": ["x", "z"]}
