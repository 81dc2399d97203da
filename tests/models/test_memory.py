"""Memory estimates: by hand on a tiny model, against a real forward pass, and on models that everybody knows."""

from typing import Any

import pytest
import torch
import transformers as hf

from lada.core.errors import InputError
from lada.models.adapters import with_adapter
from lada.models.memory import Load, MemoryEstimate
from lada.models.options import LoraOptions, ModelOptions
from lada.models.shapes import read_shape
from lada.models.trace import _trace, estimate

SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
# Per layer q, o [16, 16], k, v [8, 16], gate, up [32, 16], down [16, 32] and two norms; beside them embeddings, the
# layer of the logits and a norm.
LINEAR = 2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 32 * 16)
REST = 2 * 2 * 16 + 2 * 100 * 16 + 16
Q_AND_V = ("q_proj", "v_proj")


def llama() -> hf.LlamaConfig:
    return hf.LlamaConfig(**SHAPE, bos_token_id=None, eos_token_id=None)


def gpt2() -> hf.GPT2Config:
    ids: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
    return hf.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=64, vocab_size=100, attn_pdrop=0.0, **ids)


def mixtral() -> hf.MixtralConfig:
    """Its experts are fused, and computed by a kernel that has no shapes for float32."""
    return hf.MixtralConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2, bos_token_id=None, eos_token_id=None)


def of(load: Load, config: Any = None, dtype: torch.dtype = torch.float32, **options: Any) -> MemoryEstimate:
    return estimate(config or llama(), ModelOptions(model="tiny", **{"batch_size": 3, **options}), dtype, load)


def saved_by_a_forward_pass(model: Any, length: int) -> int:
    """Return the bytes that autograd really keeps of one padded row, each storage once, weights left out."""
    kept: dict[int, torch.UntypedStorage] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.zeros((1, length), dtype=torch.long)
    seen = torch.arange(length)[None, :] < length - 2
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(input_ids=ids, attention_mask=seen, use_cache=False)
    return sum(storage.nbytes() for storage in kept.values())


def test_every_part_by_hand() -> None:
    found = of(Load(prompt=10, completion=20, rows=2))
    assert found.parameters == found.trainable == LINEAR + REST
    assert found.weights == found.gradients == 4 * (LINEAR + REST)
    assert found.optimizer == 8 * (LINEAR + REST)
    assert found.cache == 2 * 2 * 2 * 4 * 3 * 30 * 4  # keys and values, layers, heads, width, rows, tokens, bytes
    assert found.masters == 0
    assert found.answer_logits == 3 * 20 * 100 * 4 + 3 * 20 * 100 * 4 * 2
    assert found.study_logits == 2 * 20 * 100 * 4 + 2 * 20 * 100 * 4 * 2  # once: their gradient takes their place
    assert found.studying == 4 * 4 * (LINEAR + REST) + found.activations + found.study_logits
    assert found.answering == found.weights + found.working + found.answer_logits
    assert found.peak == max(found.studying, found.answering)


def test_weights_that_compute_in_fewer_bits_have_masters_that_stay() -> None:
    found = of(Load(10, 20, rows=2), dtype=torch.bfloat16)
    assert found.weights == 2 * (LINEAR + REST)
    assert (found.masters, found.gradients) == (4 * (LINEAR + REST), 4 * (LINEAR + REST))
    assert found.optimizer == 8 * (LINEAR + REST)
    parts = found.activations + found.study_logits
    assert found.studying == 18 * (LINEAR + REST) + parts
    assert found.answering == 6 * (LINEAR + REST) + found.working + found.answer_logits
    assert of(Load(10, 20, rows=0), dtype=torch.bfloat16).masters == 0
    assert of(Load(10, 20, rows=2), dtype=torch.bfloat16, tune="lora").masters == 0


def test_what_is_not_studied_takes_no_more_than_its_weights() -> None:
    found = of(Load(10, 20, rows=0))
    assert (found.trainable, found.masters, found.gradients, found.optimizer, found.studying) == (0, 0, 0, 0, 0)
    assert found.activations == 0
    assert found.peak == found.answering


def test_logits_stand_twice_where_the_way_back_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    once, chunk = 2 * 20 * 100 * 4, 2 * 20 * 100 * 4 * 2
    capped = hf.Gemma2Config(**SHAPE, head_dim=4, final_logit_softcapping=3.0, bos_token_id=None, eos_token_id=None)
    assert of(Load(10, 20, rows=2), capped).study_logits == once + chunk  # the product behind its tanh is not kept
    linear = torch.nn.Linear.forward

    def forward(self: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
        made = linear(self, hidden)
        return made.tanh() if self.out_features == 100 else made

    _trace.cache_clear()
    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    assert of(Load(10, 20, rows=2)).study_logits == 2 * once + chunk
    _trace.cache_clear()


def test_no_sequence_is_longer_than_the_context() -> None:
    assert of(Load(60, 10_000, rows=0)).cache == of(Load(10, 54, rows=0)).cache


@pytest.mark.filterwarnings("ignore:fan_in_fan_out", "ignore:.is_gradient_checkpointing")
@pytest.mark.parametrize(("tune", "attention"), [("full", "sdpa"), ("full", "eager"), ("lora", "sdpa")])
@pytest.mark.parametrize("config", [llama(), gpt2(), mixtral()], ids=["llama", "gpt2", "mixtral"])
def test_activations_are_what_a_forward_pass_keeps(config: Any, tune: Any, attention: Any) -> None:
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    if tune == "lora":
        model = with_adapter(model, ModelOptions(model="tiny", tune="lora"), 0, None)
    found = of(Load(10, 20, rows=2), config, tune=tune, attention=attention)
    assert found.activations == 2 * saved_by_a_forward_pass(model, 30)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())


def test_lora_trains_two_factors_for_each_layer_that_it_adapts() -> None:
    lora = LoraOptions(rank=4, targets=Q_AND_V)
    found = of(Load(10, 20, rows=2), dtype=torch.bfloat16, tune="lora", lora=lora)
    assert found.trainable == 2 * 4 * ((16 + 16) + (16 + 8))
    assert found.weights == 2 * (LINEAR + REST) + 4 * found.trainable  # peft keeps adapters in float32
    assert (found.gradients, found.optimizer) == (4 * found.trainable, 8 * found.trainable)


def test_checkpoints_keep_the_input_of_each_layer_and_one_layer() -> None:
    load = Load(10, 20, rows=2)
    with_all, with_few = of(load), of(load, gradient_checkpointing=True)
    assert with_few.activations == 2 * (2 * 30 * 16 * 4 + with_all.activations // 2 // 2)
    assert with_few.weights == with_all.weights


@pytest.mark.parametrize(("quantise", "width"), [("8bit", 1), ("4bit", 0.5 + 1 / 64 + 1 / 4096)])
def test_quantised_are_linear_layers_but_the_one_of_the_logits(quantise: Any, width: float) -> None:
    lora = LoraOptions(rank=4, targets=Q_AND_V)
    found = of(Load(10, 20, rows=2), dtype=torch.bfloat16, tune="lora", lora=lora, quantise=quantise)
    assert found.weights == round(width * LINEAR) + 4 * REST + 4 * found.trainable  # what stays is float32
    assert found.cache == 2 * 2 * 2 * 4 * 3 * 30 * 4


def test_a_longer_batch_takes_more() -> None:
    small, large = of(Load(10, 20, rows=2)), of(Load(10, 40, rows=4))
    for part in ("activations", "study_logits", "cache", "answer_logits", "studying", "answering"):
        assert getattr(large, part) > getattr(small, part)


def test_a_configuration_that_json_cannot_say_back_is_told() -> None:
    """Mamba 2 has a limit that is infinite, as a pair, which JSON gives back as a list."""
    shape: Any = {"hidden_size": 16, "num_hidden_layers": 2, "num_heads": 4, "head_dim": 8, "state_size": 8}
    config = hf.Mamba2Config(**shape, n_groups=1, vocab_size=100, bos_token_id=None, eos_token_id=None)
    found = of(Load(10, 20, 2), config)
    assert found.parameters == hf.AutoModelForCausalLM.from_config(config).num_parameters()
    assert found.cache == 0  # it has a state of fixed size, and no keys


def test_layers_that_differ_are_counted_one_by_one() -> None:
    """Gemma 4 has wider heads where it attends to everything."""
    shape: Any = {**SHAPE, "head_dim": 4, "global_head_dim": 8}
    shape |= {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 100, "num_kv_shared_layers": 0}
    config = hf.Gemma4TextConfig(**shape, layer_types=["sliding_attention", "full_attention"], sliding_window=8)
    assert of(Load(10, 20, 0), config).cache == 2 * (2 * 4 + 2 * 8) * 3 * 30 * 4


def test_what_cannot_be_followed_without_numbers_is_unknown() -> None:
    experts: Any = {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8}}
    config = hf.DbrxConfig(d_model=16, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=100, **experts)
    with pytest.raises(InputError, match=r"the memory of a dbrx cannot be told from its shape: "):
        of(Load(10, 20, 1), config)


@pytest.mark.parametrize(("tune", "share"), [("full", None), ("lora", 1.0)])
def test_the_share_that_lora_adapts_is_told(tune: Any, share: float | None) -> None:
    assert of(Load(10, 20, 1), tune=tune).adapted == share


def test_what_is_no_causal_language_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"memory of a vit cannot be told from its shape"):
        of(Load(10, 20, 1), hf.ViTConfig())


def test_layers_that_are_not_there_cannot_be_adapted() -> None:
    with pytest.raises(InputError, match=r"model\.lora\.targets"):
        of(Load(10, 20, 1), tune="lora", lora=LoraOptions(targets=("nowhere",)))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("google/gemma-3-1b-it", 999_885_952),
        ("facebook/opt-1.3b", 1_315_758_080),
    ],
)
def test_shipped_shapes_have_the_parameters_that_their_models_have(
    model: str, parameters: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shape = read_shape(model)
    assert shape is not None
    assert shape.source == "from a shipped shape"
    assert of(Load(4, 4, 0), shape.config, torch.bfloat16).parameters == parameters
