"""What all parties have been told by a generated sample is no secret of a client's any more."""

from pathlib import Path

from tiny_run import tiny

from lada.config import make_config
from lada.core.terms import Origin, Sample
from lada.federation.parties import Place, client_party, read_task

SECRET = "Ms Brackwater of room 4711"


def test_a_passage_of_a_generated_question_is_not_distinctive(tmp_path: Path):
    config = make_config(tiny())
    task = read_task(config, tmp_path)
    party = client_party(config, Place(tmp_path, tmp_path, 0.0), task, lambda event: None, "warehouse")
    party.private = (*party.private, Sample("p", f"What about {SECRET} ?", "7"))
    before = party.distinctive()
    assert before is not None
    assert before is party.distinctive()  # it is made once
    assert before.found_in(SECRET)
    guess = Sample("generated-1", f"Is {SECRET} well ?", "7", origin=Origin("llm", 1, (), 1.0))
    party.task = party.task.with_generated((guess,))
    after = party.distinctive()
    assert after is not None
    assert not after.found_in(SECRET)
