"""What a run will tell is held against its limits before it starts; expected sizes are those of what is written."""

from typing import Any

import pyarrow as pa
import pytest
from tiny_run import tiny

import lada
from lada.codecs import likelihoods, paths
from lada.codecs.base import Codecs
from lada.codecs.likelihoods import Judgement
from lada.core.errors import InputError
from lada.core.limits import Limits
from lada.core.terms import Knowledge, Likelihood, Path, Sample
from lada.rounds.base import Step
from lada.rounds.sizes import check_sizes

PUBLIC = tuple(Sample(f"p-{i:05d}", f"question {i}", f"{i % 10}", f"so it is answer {i % 10}") for i in range(10_000))
SURE = Likelihood(-2.0, -1.0, 5, 19)


def steps(side: Any, *kinds: str) -> tuple[Step, ...]:
    return (Step(side, "answer", None, "public", sends=kinds),)


def raw(data: bytes) -> int:
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read_buffer().size


def told(kind: str) -> bytes:
    if kind == "likelihoods":
        return likelihoods.encode(Judgement("a", 1, {sample.id: SURE for sample in PUBLIC}))
    rows = (Path(sample.id, "a", str(sample.rationale), sample.answer, True, SURE) for sample in PUBLIC)
    return paths.encode(Knowledge("a", 1, tuple(rows)))


@pytest.mark.parametrize(("kind", "size"), [("paths", 540_000), ("likelihoods", 270_000)])
def test_tables_are_counted_nearly_to_the_byte(kind: str, size: int):
    # A row of paths has 29 bytes, an id of 7, a text of 17 and an answer of 1; one of likelihoods 20 and an id of 7.
    assert 0.97 < size / raw(told(kind)) < 1.02
    check_sizes(Limits(table_bytes=size), steps("client", kind), PUBLIC, 0, Codecs())
    with pytest.raises(
        InputError, match=rf"limits\.table_bytes: {kind} before compression will take about {size} bytes"
    ):
        check_sizes(Limits(table_bytes=size - 1), steps("client", kind), PUBLIC, 0, Codecs())


def test_the_value_that_is_named_would_do():
    with pytest.raises(InputError, match=r"but the limit is 1000; expected about 1048576, or fewer public") as refused:
        check_sizes(Limits(table_bytes=1000), steps("server", "paths"), PUBLIC, 0, Codecs())
    assert "limits.table_bytes" in str(refused.value)
    assert raw(told("paths")) < 2**20
    check_sizes(Limits(table_bytes=2**20), steps("server", "paths"), PUBLIC, 0, Codecs())


def test_messages_are_counted_with_their_soft_targets():
    # 17 bytes of text are 4 tokens and a quarter, and there is one more for the end; a position takes 92 bytes.
    size = 10_000 * (20 + 7 + 21 + 7) + (10_000 * 17 // 4 + 10_000) * 92
    both = ("likelihoods", "soft_targets", "vocabulary")
    check_sizes(Limits(max_message_bytes=size, reply_bytes=1), steps("server", *both), PUBLIC, 32, Codecs())
    check_sizes(Limits(reply_bytes=size, max_message_bytes=1), steps("client", *both), PUBLIC, 32, Codecs())
    with pytest.raises(InputError, match=rf"limits\.max_message_bytes: a message of the server's .* {size} bytes"):
        check_sizes(Limits(max_message_bytes=size - 1), steps("server", *both), PUBLIC, 32, Codecs())
    with pytest.raises(InputError, match=rf"limits\.reply_bytes: a client's reply will take about {size} bytes"):
        check_sizes(Limits(reply_bytes=size - 1), steps("client", *both), PUBLIC, 32, Codecs())


def test_no_limit_lets_a_message_be_larger_than_any_can_be():
    long = tuple(Sample(f"p{i}", "q", "5", "x" * 100_000) for i in range(1000))
    with pytest.raises(
        InputError, match=r"make a message of about 2,\d{3},\d{3},\d{3} bytes, but no message can exceed"
    ):
        check_sizes(
            Limits(max_message_bytes=2**40, table_bytes=2**40), steps("server", "soft_targets"), long, 32, Codecs()
        )


def test_what_is_told_of_nothing_public_is_not_counted():
    check_sizes(Limits(table_bytes=1, max_message_bytes=1), steps("server", "adapter"), PUBLIC, 0, Codecs())


def test_a_run_is_refused_before_it_begins_and_its_plan_says_so(tmp_path: Any):
    config = tiny(limits={"table_bytes": 100})
    with pytest.raises(InputError, match=r"limits\.table_bytes: paths before compression .* expected about 1048576"):
        lada.run(config, runs=tmp_path)
    assert not list(tmp_path.iterdir())
    assert [fault.split(":")[0] for fault in lada.plan(config).faults] == ["limits.table_bytes"]
    assert lada.plan(tiny()).faults == ()
