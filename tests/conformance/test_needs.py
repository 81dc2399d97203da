"""A pair of parties that lacks what a method needs is refused before round 1, naming method, party and verb."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from methods import Case, cases
from own_methods import EXAMPLES, registered

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.needs import needs
from lada.core.terms import Verb
from lada.hosts.base import HOSTS
from lada.models.options import ModelOptions
from lada.points import POINTS, chosen_points
from lada.refusals import Chosen, Seat, check_verbs

SERVER, CLIENT = "llm", "a"
CHOSEN = [point.kind for point in chosen_points() if not point.observes]


@pytest.fixture(scope="module", autouse=True)
def plugged() -> Iterator[None]:
    with registered(*EXAMPLES):
        yield


def model(without: Verb | None = None) -> dict[str, Any]:
    return {
        "model": "zoo:slm-llama",
        "tune": "lora",
        "verbs": [str(verb) for verb in Verb if verb is not without],
    }


def config(case: Case, party: str = "", without: Verb | None = None, owner: str = "") -> dict[str, Any]:
    """Return a run with a method, of which one party lacks a verb; with an `owner` the method is that party's alone."""
    point = POINTS[case.kind]
    choice = {"name": case.method.name, "options": case.options}
    chosen = {point.key: [choice] if point.several else choice}
    names = (CLIENT, "b", "c")
    clients = [{"name": name, "model": model(without if name == party else None)} for name in names]
    made: dict[str, Any] = {
        "server": {"model": model(without if party == SERVER else None)},
        "clients": clients,
        "plugin": "none",
    }
    if case.kind != HOSTS.kind:  # which has an objective of its own
        made |= {"host": {"name": "fedmkt", "options": {"knowledge": "paths"}}, "objective": "sft"}
    if not owner:
        return {**made, **chosen}
    holder = made["server"] if owner == SERVER else clients[0]
    holder |= chosen
    return made


def possible(case: Case) -> dict[str, Any]:
    """Return the configuration in which nobody lacks anything, if that is possible; else skip."""
    try:
        make_config(config(case))
    except InputError as error:
        pytest.skip(f"not chosen so: {error}")
    return config(case)


@cases(*CHOSEN)
def test_what_a_method_needs_and_a_party_lacks_is_refused(case: Case):
    possible(case)
    resolved = make_config(config(case))
    asked = case.method.needs_of(case.options)
    studies = resolved.make(HOSTS).server_studies
    lacks = [(party, verb) for party in (SERVER, CLIENT) for verb in Verb]
    for party, verb in lacks:
        is_student = party == CLIENT or studies
        is_teacher = party == SERVER or studies
        needed = (is_student and verb in asked.student) or (is_teacher and verb in asked.teacher)
        if needed:
            with pytest.raises(InputError, match=rf"needs a learner that can .*{verb}.* of '{party}' cannot") as told:
                make_config(config(case, party, verb))
            named = re.findall(r"^(\w+) '(\w+)'", str(told.value))
            assert len(named) == 1
            kind, name = named[0]  # another method of this configuration may need it too, and is named first
            its = next(each for each in resolved.choices(POINTS[kind].registry) if each.name == name)
            told_needs = POINTS[kind].registry.get(name).needs_of(its.options)
            assert verb in told_needs.student | told_needs.teacher


@cases(*CHOSEN)
def test_the_method_is_named_with_all_the_verbs_that_are_lacking(case: Case):
    asked = case.method.needs_of(case.options)
    seats = {
        name: Seat(
            name, ModelOptions.model_validate({**model(), "verbs": ()}), {case.kind: [Chosen(case.method.name, asked)]}
        )
        for name in (SERVER, CLIENT)
    }
    verbs = ", ".join(sorted(asked.student | asked.teacher))
    if not verbs:
        return check_verbs(seats[SERVER], [seats[CLIENT]])
    with pytest.raises(InputError, match=rf"^{case.kind} '{case.method.name}' needs a learner that can {verbs}, but"):
        check_verbs(seats[SERVER], [seats[CLIENT]])
    return None


@pytest.mark.parametrize("kind", [kind for kind in CHOSEN if kind != HOSTS.kind])
@pytest.mark.parametrize("owner", ["", SERVER, CLIENT])
def test_needs_are_read_at_every_point_whoever_has_chosen_the_method(
    kind: str, owner: str, monkeypatch: pytest.MonkeyPatch
):
    point = POINTS[kind]
    if owner and (not point.by_party or (owner == SERVER and point.side == "client")):
        pytest.skip("no party has one of its own")
    registry = point.registry
    usual = point.default or registry.names()[0]
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))
    registry.register("demanding", needs=needs(student={Verb.EMBED}))(lambda _: registry.make(usual, {}))
    case = Case(kind, registry.get("demanding"), {})
    make_config(config(case, owner=owner))
    party = owner or CLIENT
    with pytest.raises(InputError, match=rf"^{kind} 'demanding' needs a learner that can embed, but that of '{party}'"):
        make_config(config(case, party, Verb.EMBED, owner))
