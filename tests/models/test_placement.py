"""Devices, precision and memory: what is taken at its word, what this machine lacks, and what must change nothing."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.adapters import with_adapter
from lada.models.base import Study
from lada.models.likelihood import token_log_probs
from lada.models.load import check, load
from lada.models.options import LoraOptions, ModelOptions
from lada.models.placement import check_placement, pick_device, pick_dtype, placement
from lada.models.training import Optimisation
from lada.rounds.steps import sft

pytestmark = pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated")
LORA = {"tune": "lora", "lora": LoraOptions(rank=2, alpha=4)}


def options(**given: Any) -> ModelOptions:
    return ModelOptions(model="tiny", **{"device": "cpu", **given})


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)


@pytest.fixture
def with_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("lada.core.extras.find_spec", lambda name: name == "bitsandbytes" or found(name))


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> str:
    tiny.learner().save(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.usefixtures("without_cuda")
class TestLacking:
    def test_devices(self):
        assert (pick_device("auto"), pick_device("cpu")) == (torch.device("cpu"), torch.device("cpu"))
        for device in ("cuda", "mps"):
            with pytest.raises(InputError, match=f"model.device: '{device}', but PyTorch finds none on this machine"):
                pick_device(device)

    @pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
    def test_attention(self, attention: Any):
        with pytest.raises(InputError, match=f"model.attention: '{attention}' needs a CUDA device; expected sdpa"):
            check_placement(options(attention=attention))

    def test_bits_without_the_package(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "bitsandbytes", None)
        monkeypatch.setattr("lada.core.extras.find_spec", lambda name: None)
        with pytest.raises(
            InputError, match=r"'4bit' needs the package bitsandbytes; .*pip install 'lada-fed\[quantise\]'"
        ):
            check_placement(options(quantise="4bit", **LORA))

    @pytest.mark.usefixtures("with_bitsandbytes")
    def test_bits_without_a_device(self, folder: str):
        with pytest.raises(InputError, match=r"model.quantise: '8bit' needs a CUDA device; leave it out"):
            check(folder, options(quantise="8bit", **LORA))


@pytest.mark.usefixtures("with_cuda")
class TestTold:
    """What transformers is told on a machine with CUDA."""

    def test_nothing_but_the_dtype(self):
        assert placement(options(device="auto")) == {"dtype": torch.bfloat16}
        assert placement(options()) == {"dtype": torch.float32}

    def test_layers_on_several_devices(self):
        told = placement(options(device="auto", device_map="balanced_low_0", attention="sdpa", dtype="float32"))
        assert told == {"dtype": torch.float32, "device_map": "balanced_low_0", "attn_implementation": "sdpa"}

    @pytest.mark.usefixtures("with_bitsandbytes")
    def test_bits(self):
        four = placement(options(quantise="4bit", device="cuda", **LORA))
        bits = four["quantization_config"]
        assert bits.load_in_4bit
        assert (bits.bnb_4bit_quant_type, bits.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
        assert four["device_map"] == {"": torch.device("cuda")}
        eight = placement(options(quantise="8bit", device="auto", device_map="auto", **LORA))
        assert eight["quantization_config"].load_in_8bit
        assert eight["device_map"] == "auto"

    def test_flash_attention_without_its_package(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("lada.models.placement.find_spec", lambda name: None)
        with pytest.raises(InputError, match="needs the package flash-attn; install it with: pip install flash-attn"):
            check_placement(options(device="auto", attention="flash_attention_2"))


def test_dtypes():
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert pick_dtype("float16", torch.device("cpu")) == torch.float16


PAIRS = [("how many boxes ?", "answer 5"), ("?", "a) pallet : 7 + 4 = 11 . answer 11")]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_changes_no_number(folder: str, attention: Any):
    plain, other = load(folder, options()), load(folder, options(attention=attention))
    assert other.model.config._attn_implementation == attention
    for a, b in zip(plain.judge(PAIRS), other.judge(PAIRS), strict=True):
        assert a.total == pytest.approx(b.total, abs=1e-4)


def test_an_attention_that_the_architecture_lacks(tiny: Any, tmp_path: Path):
    tokenizer = tiny.tokenizer()
    hf.BloomForCausalLM(hf.BloomConfig(hidden_size=16, n_layer=1, n_head=2, vocab_size=300)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"model: cannot load '.*': BloomForCausalLM does not support"):
        load(str(tmp_path), options(attention="sdpa"))


def test_a_device_map_on_one_device_is_that_device(folder: str):
    plain, mapped = load(folder, options()), load(folder, options(device="auto", dtype="float32", device_map="auto"))
    for a, b in zip(plain.judge(PAIRS), mapped.judge(PAIRS), strict=True):
        assert a.total == pytest.approx(b.total, abs=1e-3)


def test_lora_over_half_precision_trains_in_full_precision(folder: str):
    learner = load(folder, options(dtype="float16", **LORA))
    dtypes = {parameter.requires_grad: parameter.dtype for parameter in learner.model.parameters()}
    assert dtypes == {True: torch.float32, False: torch.float16}
    lessons = [Lesson("a", question, path) for question, path in PAIRS]
    rate = Optimisation(learning_rate=1e-2)
    report = learner.study(lessons, sft(), Study(steps=20, batch_size=2, optimisation=rate), seed=0)
    assert report.last_loss < report.first_loss


def gradients(learner: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss of PAIRS and its gradient, without dropout."""
    rows = [learner._encoder.pair(question, path) for question, path in PAIRS]
    learner.model.train()
    log_probs, _ = token_log_probs(learner.model, rows, learner._encoder.pad)
    (-log_probs.sum()).backward()
    return float(log_probs.sum().detach()), {
        name: weight.grad for name, weight in learner.model.named_parameters() if weight.grad is not None
    }


class Forwards:
    """Counts how often a module computes."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.count = 0
        module.register_forward_pre_hook(self._seen)

    def _seen(self, *_: Any) -> None:
        self.count += 1


@pytest.mark.parametrize("tune", [{}, LORA])
def test_gradient_checkpointing_changes_no_gradient(tiny: Any, tmp_path: Path, architecture: str, tune: dict[str, Any]):
    tiny.learner(architecture).save(tmp_path)
    plain = load(str(tmp_path), options(**tune))
    checkpointed = load(str(tmp_path), options(gradient_checkpointing=True, **tune))
    inside = [
        Forwards(next(module for name, module in learner.model.named_modules() if name.endswith("attn")))
        for learner in (plain, checkpointed)
    ]
    loss, expected = gradients(plain)
    again, found = gradients(checkpointed)
    assert [forwards.count for forwards in inside] == [1, 2]
    assert again == pytest.approx(loss, abs=1e-6)
    assert found.keys() == expected.keys() != set()
    assert all(torch.allclose(found[name], expected[name], rtol=0, atol=1e-6) for name in expected)
    assert any(gradient.abs().max() > 0 for gradient in expected.values())
    checkpointed.model.eval()
    assert checkpointed.answer(["how many boxes ?"], seed=0) == plain_answer(plain)


def plain_answer(learner: Any) -> Any:
    learner.model.eval()
    return learner.answer(["how many boxes ?"], seed=0)


@pytest.mark.parametrize("tune", [{}, LORA])
def test_studies_end_alike_with_gradient_checkpointing_and_dropout(tiny: Any, tmp_path: Path, tune: dict[str, Any]):
    tiny.learner("gpt2").save(tmp_path)
    lessons = [Lesson(question, question, path) for question, path in PAIRS]
    after = []
    for checkpointing in (False, True):
        learner = load(str(tmp_path), options(gradient_checkpointing=checkpointing, **tune))
        for module in learner.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2
        learner.study(lessons, sft(), Study(steps=3, batch_size=2), seed=0)
        after.append([weight for weight in learner.model.parameters() if weight.requires_grad])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(*after, strict=True))


class OddConfig(hf.PreTrainedConfig):
    model_type = "lada-odd"


class OddModel(hf.PreTrainedModel):
    """An architecture that nobody knows: linear layers of odd names, in blocks and outside."""

    config_class = OddConfig  # type: ignore[assignment]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.words = torch.nn.Embedding(9, 4)
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleDict({"mix": torch.nn.Linear(4, 4), "norm": torch.nn.LayerNorm(4)}) for _ in range(2)
        )
        self.speak = torch.nn.Linear(4, 9)
        self.post_init()

    def get_output_embeddings(self) -> Any:
        return self.speak

    def forward(self, **_: Any) -> Any:
        raise NotImplementedError

    def prepare_inputs_for_generation(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def test_adapters_of_an_unknown_architecture():
    model = with_adapter(OddModel(OddConfig()), options(**LORA), 0, None)
    adapted = {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {f"base_model.model.blocks.{i}.mix" for i in range(2)}


def test_a_model_without_checkpointing_is_refused(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch):
    tiny.learner().save(tmp_path)
    monkeypatch.setattr(hf.LlamaForCausalLM, "supports_gradient_checkpointing", False)
    with pytest.raises(
        InputError, match=r"model.gradient_checkpointing: true, but LlamaForCausalLM does not support it"
    ):
        load(str(tmp_path), options(gradient_checkpointing=True))
