"""What a device must hold at once, and which keys make it fit."""

from dataclasses import replace

import pytest
import torch
import transformers as hf

from lada.models.base import Study
from lada.models.memory import Trace
from lada.models.options import ModelOptions, Parallel
from lada.models.trace import trace
from lada.planning.fit import CONTEXT, RESIDENT, Demand, device_plans
from lada.planning.lengths import Lengths
from lada.planning.machine import Device

SHAPE = hf.LlamaConfig(
    hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
    vocab_size=500, max_position_embeddings=512, bos_token_id=None, eos_token_id=None,
)  # fmt: skip
ROOM = 10**12


def traced(options: ModelOptions, dtype: str, lengths: Lengths) -> Trace:
    return trace(SHAPE, options, getattr(torch, dtype), lengths.prompt, lengths.completion)


def demand(name: str, client: bool = True, device: str = "cpu", batch: int = 64, **options) -> Demand:
    settings = ModelOptions(**{"model": "tiny", "dtype": "float32", "batch_size": 4, **options})
    study = ((Study(batch_size=batch), False),)
    return Demand(name, client, traced, settings, device, study, Lengths(100, 200, 150.0, "counted"))


def device(total: int, name: str = "cpu") -> Device:
    return Device(name, "a device", free=total // 2, total=total)


def test_the_server_and_the_largest_clients_at_once() -> None:
    parties = [demand("llm", False), demand("a", batch=8), demand("b", batch=32), demand("c", batch=16)]
    peaks = {each.name: each.memory().peak for each in parties}
    (plan,) = device_plans(parties, [], 2, [device(ROOM)])
    assert plan.needed == peaks["llm"] + peaks["b"] + peaks["c"] + 3 * RESIDENT
    assert (plan.parties, plan.at_once, plan.fits, plan.remedies) == (("llm", "a", "b", "c"), 2, True, None)
    (plan,) = device_plans(parties, [], 0, [device(ROOM)])  # in the server's process, one after another
    assert plan.needed == peaks["llm"] + peaks["b"] + RESIDENT


def test_a_devices_own_parties_count_and_no_others() -> None:
    parties = [demand("llm", False, "cuda:0"), demand("a"), demand("b")]
    cpu, gpu = device_plans(parties, [("c", "cuda:0")], 1, [device(ROOM), device(ROOM, "cuda:0"), device(ROOM, "mps")])
    assert (cpu.parties, cpu.missing, gpu.parties, gpu.missing) == (("a", "b"), (), ("llm",), ("c",))
    assert gpu.needed == parties[0].memory().peak + CONTEXT


def test_each_copy_of_a_parallel_model_has_its_memory() -> None:
    one, two = demand("llm", False, batch=7), demand("llm", False, batch=13, parallel=Parallel(processes=2))
    assert two.memory().peak == one.memory().peak  # of 13 rows a rank has 7 at most
    (plan,) = device_plans([two], [], 0, [device(ROOM)])
    assert plan.needed == 2 * (two.memory().peak + RESIDENT)
    on_cuda = demand("llm", False, "cuda:0", batch=13, parallel=Parallel(processes=2))
    plans = device_plans([on_cuda], [], 0, [device(ROOM, f"cuda:{i}") for i in range(3)])
    assert [(plan.device, plan.needed) for plan in plans] == [
        (name, on_cuda.memory().peak + CONTEXT) for name in ("cuda:0", "cuda:1")
    ]


def test_a_device_map_spreads_a_model() -> None:
    party = demand("llm", False, "cuda:0", device_map="balanced")
    plans = device_plans([party], [], 1, [device(ROOM), device(ROOM, "cuda:0"), device(ROOM, "cuda:1")])
    assert [(plan.device, plan.needed) for plan in plans] == [
        (name, party.memory().peak // 2 + CONTEXT) for name in ("cuda:0", "cuda:1")
    ]


def test_pairs_double_a_micro_batch() -> None:
    single = demand("a", batch=8)
    pairs = replace(single, studies=((Study(batch_size=8), True), (Study(batch_size=9), False)))
    assert pairs.memory().activations == 2 * single.memory().activations


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"micro": 1}, ("micro_batch_size: 1",)),
        ({"micro": 1, "checkpoints": True}, ("micro_batch_size: 1", "gradient_checkpointing: true")),
    ],
)
def test_the_least_that_makes_it_fit(changes: dict, expected: tuple[str, ...]) -> None:
    party = demand("a", batch=16, batch_size=1)
    study = ((Study(batch_size=16, micro_batch_size=changes["micro"]), False),)
    options = party.options.model_copy(update={"gradient_checkpointing": changes.get("checkpoints", False)})
    enough = replace(party, studies=study, options=options).memory().peak + RESIDENT
    (plan,) = device_plans([party], [], 1, [device(enough)])
    assert (plan.fits, plan.remedies) == (False, expected)


def test_fewer_workers_come_first() -> None:
    parties = [demand("a"), demand("b")]
    (plan,) = device_plans(parties, [], 2, [device(parties[0].memory().peak + RESIDENT)])
    assert plan.remedies == ("workers: 1",)


def test_sometimes_no_key_is_enough() -> None:
    (plan,) = device_plans([demand("a")], [], 1, [device(1000)])
    assert plan.remedies == ()


def test_four_bits_come_with_lora_and_only_on_cuda() -> None:
    party = demand("a", False, "cuda:0", batch=1, batch_size=1, dtype="bfloat16", gradient_checkpointing=True)
    party = replace(party, lengths=Lengths(1, 1, 1.0, "counted"))
    small = party.options.model_copy(update={"tune": "lora", "quantise": "4bit"})
    enough = replace(party, options=small).memory().peak + CONTEXT
    (plan,) = device_plans([party], [], 1, [device(enough, "cuda:0")])
    assert plan.remedies == ("tune: lora", "quantise: 4bit")
    (plan,) = device_plans([replace(party, device="cpu")], [], 1, [device(enough - CONTEXT + RESIDENT)])
    assert plan.remedies == ()
