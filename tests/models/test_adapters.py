"""What LoRA adapts where nobody says: linear layers and fused experts, but no routers, and nothing read past it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from peft.tuners.lora import ParamWrapper

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.adapters import adapted_share, factors, with_adapter
from lada.models.base import Study
from lada.models.load import load
from lada.models.options import LoraOptions, ModelOptions
from lada.models.training import Optimisation
from lada.rounds.steps import sft

IDS: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "vocab_size": 300}
GATED: dict[str, Any] = {
    **IDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 48, "max_position_embeddings": 96,
}  # fmt: skip
EXPERTS = {**GATED, "num_local_experts": 4, "num_experts": 4, "moe_intermediate_size": 48, "num_experts_per_tok": 2}
ATTENTION = 2 * (2 * 32 * 32 + 2 * 32 * 16)  # layers of q, o [32, 32] and k, v [16, 32]
FUSED = 2 * 4 * 3 * 48 * 32
ROUTERS = 2 * 4 * 32


def mixtral() -> Any:
    return hf.MixtralConfig(**EXPERTS, head_dim=16)


def mamba() -> Any:
    return hf.MambaConfig(**IDS, hidden_size=32, num_hidden_layers=2, state_size=8, time_step_rank=8)


def adapted(config: Any, **lora: Any) -> Any:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config)
    options = ModelOptions(model="m", tune="lora", lora=LoraOptions(**{"rank": 4, "alpha": 8, **lora}))
    return with_adapter(model, options, 0, None)


def names(model: Any) -> set[str]:
    """Return the last parts of what is adapted; of a weight, with its own name."""
    found = set()
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            path = [part for part in name.split(".") if part != "base_layer"]
            found.add(f"{path[-1]}.{module.parameter_name}" if isinstance(module, ParamWrapper) else path[-1])
    return found


def shaken(model: Any) -> Any:
    """Give every adapter something to add."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model.eval()


def test_fused_experts_are_adapted_and_their_router_is_not() -> None:
    model = adapted(mixtral())
    assert names(model) == {
        *("q_proj", "k_proj", "v_proj", "o_proj"), "experts.gate_up_proj", "experts.down_proj",
    }  # fmt: skip
    assert adapted_share(model) == pytest.approx((ATTENTION + FUSED) / (ATTENTION + FUSED + ROUTERS))


def test_under_dropout_experts_stay_as_they_are() -> None:
    model = adapted(mixtral(), dropout=0.1)
    assert names(model) == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert adapted_share(model) == pytest.approx(ATTENTION / (ATTENTION + FUSED + ROUTERS))


def test_experts_can_be_named() -> None:
    model = adapted(mixtral(), targets=("experts.down_proj", "q_proj"))
    assert names(model) == {"q_proj", "experts.down_proj"}
    assert adapted_share(model) == pytest.approx((2 * 32 * 32 + FUSED / 3) / (ATTENTION + FUSED + ROUTERS))


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        (lambda: hf.HunYuanMoEV1Config(**EXPERTS, moe_topk=2, head_dim=16), {"wg"}),
        (lambda: hf.Qwen2MoeConfig(**EXPERTS, shared_expert_intermediate_size=48), {"shared_expert_gate"}),
        (lambda: hf.Llama4TextConfig(**EXPERTS, intermediate_size_mlp=48, head_dim=16), {"router"}),
        (lambda: hf.JetMoeConfig(**EXPERTS, kv_channels=16), {"layer"}),
    ],
    ids=["hunyuan", "qwen2", "llama4", "jetmoe"],
)
def test_routers_that_are_linear_layers_are_left_out(config: Any, left_out: set[str]) -> None:
    model = adapted(config())
    layers = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert left_out <= layers
    assert not left_out & names(model)
    assert adapted_share(model) > 0.95


def test_shared_experts_are_adapted_beside_fused_ones() -> None:
    """Peft takes `gate_proj` for a part of the fused experts, wherever it is."""
    assert {"gate_proj.weight", "up_proj.weight", "down_proj.weight"} <= names(
        adapted(hf.Qwen2MoeConfig(**EXPERTS, shared_expert_intermediate_size=48))
    )


def test_mambas_default_leaves_out_what_is_read_past_an_adapter() -> None:
    model = shaken(adapted(mamba()))
    assert names(model) == {"in_proj", "x_proj"}
    ids = torch.arange(5, 25)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(weight.grad.any() for name, weight in model.named_parameters() if "lora_" in name)
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        assert torch.allclose(model.merge_and_unload()(input_ids=ids).logits, before, atol=1e-4)


def test_what_computes_in_a_way_of_its_own_is_left_out() -> None:
    class Twice(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> Any:
            return super().forward(input), input

    model: Any = hf.LlamaForCausalLM(hf.LlamaConfig(**GATED))
    model.model.layers[0].self_attn.q_proj = Twice(32, 32)
    found = with_adapter(model, ModelOptions(model="m", tune="lora"), 0, None)
    paths = [name for name, module in found.named_modules() if hasattr(module, "lora_A")]
    assert sum(path.endswith("q_proj") for path in paths) == 1


def test_a_model_without_linear_layers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.models.adapters.adaptable", lambda model: [])
    with pytest.raises(InputError, match=r"model.tune: 'lora', but LlamaForCausalLM has no linear layers"):
        adapted(hf.LlamaConfig(**GATED))


def test_factors_of_experts_multiply_to_what_is_added_to_each() -> None:
    model = shaken(adapted(mixtral()))
    found = dict(factors(model))
    checked = 0
    for path, module in model.named_modules():
        if isinstance(module, ParamWrapper):
            delta = module.get_delta_weight("default")
            for expert in range(4):
                a, b = (found[f"{path}.lora_{side}.default.weight.{expert}"] for side in "AB")
                assert a.shape[0] == b.shape[1] == 4
                assert torch.allclose(8 / 4 * b @ a, delta[expert], atol=1e-6)
                checked += 1
    assert checked == 2 * 2 * 4
    assert len(found) == 2 * 2 * (4 + 2 * 4)  # A and B of each layer's four linear layers, and of each expert's two


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> str:
    torch.manual_seed(0)
    tokenizer = tiny.tokenizer()
    config = hf.MixtralConfig(**{**EXPERTS, "vocab_size": len(tokenizer)}, head_dim=16)
    hf.MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_a_study_of_experts_goes_out_comes_in_and_comes_back(folder: str, tiny: Any, tmp_path: Path) -> None:
    options = ModelOptions(model="m", device="cpu", tune="lora", lora=LoraOptions(rank=4), max_new_tokens=6)
    pupil, other = load(folder, options), load(folder, options)
    lessons = [Lesson(str(i), *pair) for i, pair in enumerate(zip(tiny.questions, tiny.paths, strict=True))]
    rate = Optimisation(learning_rate=1e-2)
    report = pupil.study(lessons, sft(), Study(steps=6, batch_size=4, optimisation=rate), seed=0)
    assert report.last_loss < report.first_loss
    learnt = pupil.adapter()
    assert any(".experts." in name and "lora_B" in name and weight.any() for name, weight in learnt.items())
    other.load_adapter(learnt)
    assert all(np.array_equal(learnt[name], weight) for name, weight in other.adapter().items())
    pupil.save(tmp_path / "saved")
    again = load(folder, options, saved=tmp_path / "saved")
    expected = pupil.answer(tiny.questions, seed=0)
    assert other.answer(tiny.questions, seed=0) == expected == again.answer(tiny.questions, seed=0)


def test_who_adapts_little_is_told_how_much(folder: str) -> None:
    most = load(folder, ModelOptions(model="m", device="cpu", tune="lora"))
    assert most.take_notices() == ()
    few = load(folder, ModelOptions(model="m", device="cpu", tune="lora", lora=LoraOptions(dropout=0.1)))
    (notice,) = few.take_notices()
    share = ATTENTION / (ATTENTION + FUSED + ROUTERS)
    assert notice.startswith(f"LoRA adapts {share:.0%} of the weights between embeddings and logits; ")
