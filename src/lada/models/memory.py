"""How much memory a model will take, told from its shape before any weight is read.

Parameters are counted on the meta device. What autograd keeps for the way back is counted too: a forward pass over
fake tensors, which have a shape and a type but no numbers, adds up what it saves. The rest is our reading of what the
learner does, as upper bounds: every row of a batch is taken to be as long as the longest may be.

    studying    weights + masters + gradients + AdamW's two states + activations + logits, twice where their gradient
                cannot be written over them
    answering   weights + masters + what one layer works with + the greater of KV cache (writing) and logits (judging)

Not counted: what the allocator wastes, kernels' own workspaces, the CUDA context, the interpreter.
"""

import copy
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from pydantic import computed_field
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lada.core.errors import InputError
from lada.core.results import Record
from lada.models.adapters import adapted_share, with_adapter
from lada.models.head import head_sees
from lada.models.learner import context_of
from lada.models.likelihood import CHUNK, is_spare
from lada.models.masters import NARROW
from lada.models.options import ModelOptions

QUANTISED = {"8bit": 1.0, "4bit": 0.5 + 1 / 64 + 4 / 64 / 256}
"""Bytes of a quantised weight: NF4 keeps a scale of 8 bits for 64 of them, and a float32 for 256 of these."""


class MemoryEstimate(Record):
    """What a party's model takes at most, bytes but for the two counts; what it does not do takes 0."""

    parameters: int
    trainable: int
    adapted: float | None = None
    """The share of the weights between embeddings and logits that LoRA adapts; None without LoRA."""
    weights: int
    masters: int
    """In float32, of weights that are trained and compute in fewer bits; from the first study on."""
    gradients: int
    optimizer: int
    activations: int
    """Kept for the way back by the micro-batch that is largest."""
    study_logits: int
    cache: int
    """Keys and values of `batch_size` rows."""
    working: int
    """What one layer holds while it answers `batch_size` rows."""
    answer_logits: int
    """Logits of the paths that are judged at once."""

    @computed_field
    @property
    def studying(self) -> int:
        """Bytes while it studies."""
        if not self.optimizer:
            return 0
        return self.weights + self.masters + self.gradients + self.optimizer + self.activations + self.study_logits

    @computed_field
    @property
    def answering(self) -> int:
        """Bytes while it answers and judges."""
        return self.weights + self.masters + self.working + max(self.cache, self.answer_logits)

    @computed_field
    @property
    def peak(self) -> int:
        """The greater of both."""
        return max(self.studying, self.answering)


@dataclass(frozen=True, slots=True)
class Load:
    """What a model is asked to hold at once: the longest prompt and completion, tokens, and rows of a micro-batch.

    `rows` counts rejected paths too; 0 for a model that never studies.
    """

    prompt: int
    completion: int
    rows: int


def estimate(config: Any, options: ModelOptions, dtype: torch.dtype, load: Load) -> MemoryEstimate:
    """Return what a model of this configuration (`transformers`) takes under these options.

    Raises InputError for a model whose shape alone does not lead through a forward pass.
    """
    try:
        return _estimate(config, options, dtype, load)
    except InputError:
        raise
    except Exception as error:  # there is no telling what a model's code raises on shapes without numbers
        raise InputError(
            f"model: the memory of a {config.model_type} cannot be told from its shape: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error


def _estimate(config: Any, options: ModelOptions, dtype: torch.dtype, load: Load) -> MemoryEstimate:
    text = config.get_text_config()
    length = min(load.prompt + load.completion, context_of(config))
    if options.quantise is not None:  # all that stays, and what flows between layers, is then in float32
        dtype = torch.float32
    completion = min(load.completion, length)
    frame = _frame(_Shape(config), _shaping(options), dtype, length, completion)
    size, vocabulary, layers = dtype.itemsize, int(text.vocab_size), int(text.num_hidden_layers)

    def logits(rows: int, copies: int) -> int:
        needed = rows * completion * vocabulary
        return copies * needed * size + 2 * min(needed, max(CHUNK, vocabulary)) * torch.float32.itemsize

    kept = frame.kept
    if options.gradient_checkpointing:  # the input of every layer, and one layer as it is computed anew
        kept = layers * length * text.hidden_size * size + frame.kept // layers
    studies = load.rows > 0
    return MemoryEstimate(
        parameters=frame.parameters,
        trainable=frame.trainable if studies else 0,
        adapted=frame.adapted,
        weights=frame.weights,
        masters=frame.masters if studies else 0,
        gradients=frame.trainable * torch.float32.itemsize if studies else 0,
        optimizer=2 * frame.trainable * torch.float32.itemsize if studies else 0,
        activations=load.rows * kept,
        study_logits=logits(load.rows, frame.copies) if studies else 0,
        cache=2 * _cached(text) * options.batch_size * length * size,
        working=options.batch_size * frame.working,
        answer_logits=logits(options.batch_size, 1),
    )


def _cached(text: Any) -> int:
    """Return how many numbers a model keeps of a token as its keys, and as many as its values; of all its layers."""
    layers = int(text.num_hidden_layers)
    each = getattr(text, "per_layer_config", None)  # in some, layers differ
    return sum(_heads(each[i]) for i in range(layers)) if each else layers * _heads(text)


def _heads(layer: Any) -> int:
    heads = getattr(layer, "num_key_value_heads", None) or getattr(layer, "num_attention_heads", 0)
    if not heads:
        return 0
    return heads * (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)


class _Shape:
    """A configuration as a key of what was computed from it: equal to others that say the same."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self._told = config.to_json_string(use_diff=False)

    def __hash__(self) -> int:
        return hash(self._told)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self._told == other._told


@dataclass(frozen=True, slots=True)
class _Frame:
    """What does not depend on how many rows there are: counts, bytes of weights, bytes per row."""

    parameters: int
    trainable: int
    adapted: float | None
    weights: int
    masters: int
    kept: int
    copies: int
    """Of the logits in a study: 2 where their gradient cannot be written over them."""
    working: int


def _shaping(options: ModelOptions) -> str:
    """Return the options that a frame depends on, and no other, so that equal frames are made once."""
    return options.model_dump_json(include={"model", "tune", "lora", "quantise", "attention"})


@cache
def _frame(shape: _Shape, shaping: str, dtype: torch.dtype, length: int, completion: int) -> _Frame:
    config, adapted = copy.deepcopy(shape.config), None
    options = ModelOptions.model_validate_json(shaping)
    eager = {"attn_implementation": "eager"} if options.attention == "eager" else {}
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False, **eager)
        kept, copies = _kept(model.train(), length, completion)
        weights = _weight_bytes(model, options.quantise)
        working = kept // int(config.get_text_config().num_hidden_layers)
        if options.tune == "lora":
            model = with_adapter(model, options, 0, None)
            adapted = adapted_share(model)
            weights += sum(p.nbytes for p in model.parameters() if p.requires_grad)
        every = list(model.parameters())  # counted first, since experts under an adapter lose theirs when they are run
        if options.tune == "lora":
            kept, copies = _kept(model.train(), length, completion)
    trained = [p for p in every if p.requires_grad]
    return _Frame(
        parameters=sum(p.numel() for p in every),
        trainable=sum(p.numel() for p in trained),
        adapted=adapted,
        weights=weights,
        masters=sum(p.numel() for p in trained if p.dtype in NARROW) * torch.float32.itemsize,
        kept=kept,
        copies=copies,
        working=working,
    )


def _weight_bytes(model: Any, quantise: str | None) -> int:
    """Return the bytes of all weights; bitsandbytes leaves alone what is no linear layer, and the one of the logits."""
    total = sum(p.nbytes for p in model.parameters())
    if quantise is None:
        return total
    head = model.get_output_embeddings()
    linear = [m.weight for m in model.modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head]
    return total + round(sum(weight.numel() * QUANTISED[quantise] - weight.nbytes for weight in linear))


def _kept(model: Any, length: int, completion: int) -> tuple[int, int]:
    """Return the bytes that autograd keeps of a forward pass over one row, weights left out, and a study's logits.

    Logits are those of its last `completion` positions; of them there are 1 or 2, see `_Frame.copies`.
    """
    kept: dict[int, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        values = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        own = {value.untyped_storage()._cdata for value in values.values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage  # held, so that no other storage takes its place
            return tensor

        inputs = {"input_ids": torch.zeros((1, length), dtype=torch.long), "use_cache": False}
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            head_sees(model, lambda hidden: hidden[..., length - completion :, :].contiguous()),
            _GroupedShapes(),
        ):
            logits = torch.func.functional_call(model, values, (), inputs).logits
            copies = 1 if is_spare(logits) else 2
    return sum(storage.nbytes() for storage in kept.values()), copies


class _GroupedShapes(TorchDispatchMode):
    """Tells the shape of a product with fused experts, which PyTorch refuses for tensors without numbers in float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._grouped_mm.default:
            tokens, experts = args[:2]
            return tokens.new_empty((tokens.shape[0], experts.shape[-1]))
        return func(*args, **(kwargs or {}))
