"""A policy of one's own: a state across rounds, a part of the paths held back, a text changed."""

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import make_party
from own_methods import registered

from lada.policies.base import POLICIES
from lada.policies.blur import Blurs
from lada.privacy.options import Blur
from lada.rounds.knowledge import SOFT, receive_knowledge, send_knowledge, write_knowledge


@pytest.fixture
def plugged() -> Iterator[None]:
    with registered("thrift"):
        yield


def test_a_chain_is_gone_through_at_the_owner_before_anything_is_encoded(plugged: None, tmp_path: FilePath):
    party = make_party("a", {0, 1, 2, 3, 4}, tmp_path, objective="soft_targets")
    learner: Any = party.learner
    learner.judgements = {"answer gold0": -1.26}
    # The order of the two is not that of their work: texts come first, so that the losses of new texts are blurred too.
    party.policies = (("blur", Blurs(Blur(round_to=0.5))), ("thrift", POLICIES.make("thrift", {})))
    server = make_party("llm", set(), tmp_path, objective="soft_targets")
    for round in (1, 2):
        payload = dict(send_knowledge(party, write_knowledge(party, round, "answer", "paths"), "paths"))
        offer = receive_knowledge(server, payload, "a", round, "paths")
        told = offer.knowledge.by_id()
        assert list(told) == [f"p{i}" for i in range(6 - round)]
        assert (told["p0"].text, told["p0"].answer, told["p0"].right) == ("answer gold0", "gold0", True)
        assert told["p0"].likelihood.mean % 0.5 == 0
        assert SOFT in payload
        assert set(offer.scores) == set(told) - {"p0"}  # which would spell out what was taken from it
        assert party.report.notices[-1] == f"round {round}: a tells {6 - round}"
    assert int(party.states["policy/thrift/a"]["rounds"]) == 2


def test_it_is_chosen_by_configuration(plugged: None):
    from lada.config import make_config
    from lada.core.errors import InputError

    model = {"model": "zoo:slm-llama"}

    def config(**client: Any) -> Any:
        clients = [{"name": "a", "model": model, **client}]
        return make_config({"server": {"model": model}, "clients": clients})

    chosen = config(policies=["thrift"], blur={"round_to": 0.5})
    assert [name for name, _ in chosen.make_policies("a")] == ["blur", "thrift"]
    assert chosen.held_back() == ("clients.a.blur", "clients.a.policies.thrift")
    with pytest.raises(InputError, match=r"policy: unknown name 'thirft'.*did you mean 'thrift'"):
        config(policies=["thirft"])
    with pytest.raises(InputError, match="policy 'blur' is named twice"):
        config(policies=["blur"], blur={"round_to": 0.5})
