"""What holds of every method with a state: it is all that the method remembers, and no order of things matters."""

import pytest
from alike import same
from driven import DRIVES, as_it_is, shuffled
from methods import Case, cases

from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.points import POINTS

STATELESS = {"host", "learner", "tracker"}
"""Kinds whose methods keep no state of this sort: hosts' lies in parties, learners save files, trackers only watch."""


def test_the_suite_knows_every_kind_of_method():
    assert DRIVES.keys() | STATELESS == POINTS.keys()


@cases(*DRIVES)
def test_a_state_is_all_that_a_method_remembers_and_the_seed_all_that_it_begins_with(case: Case):
    drive, method, other = DRIVES[case.kind], case.make(), case.make()
    state, first = drive.step(method, drive.begin(method), 1, as_it_is)
    same((dict(state), first), drive.step(other, drive.begin(other), 1, as_it_is))
    bytes = arrays_to_bytes(state)
    kept = bytes_to_arrays(bytes)
    same(dict(state), kept)
    second = drive.step(method, state, 2, as_it_is)
    assert arrays_to_bytes(state) == bytes, "a step changed the state that it was given"
    same(drive.step(case.make(), kept, 2, as_it_is), second)


@cases(*(kind for kind, drive in DRIVES.items() if not drive.ordered))
def test_the_order_of_samples_and_parties_does_not_matter(case: Case):
    if case.method.by_order:
        pytest.skip(case.method.by_order)
    drive, method = DRIVES[case.kind], case.make()
    state, first = drive.step(method, drive.begin(method), 1, as_it_is)
    other, again = drive.step(method, drive.begin(method), 1, shuffled)
    same(first, again, close=1e-6)
    same(drive.step(method, state, 2, as_it_is)[1], drive.step(method, other, 2, shuffled)[1], close=1e-6)
