"""Which model a party runs, and how."""

from typing import Annotated, Literal

from pydantic import Field

from lada.core.registry import Options
from lada.core.terms import Verb


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685); `targets` None leaves the choice of layers to peft."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None


class Generation(Options):
    """How answers are written. Backends differ in speed, in the rounding of floats and in what they draw."""

    backend: Literal["batch", "continuous", "vllm"] = "batch"
    """batch: LaDa's own loop, for every causal LM. continuous: transformers' continuous batching, a new question for
    each that is done. vllm: an engine of its own, which is built for every call and wants `pip install vllm`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Where answers are sampled: the share of the probability that the likeliest tokens drawn from have together."""
    top_k: int | None = Field(default=None, ge=1)
    """Where answers are sampled: how many of the likeliest tokens are drawn from."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end an answer and are not part of it. Special tokens are no text."""


class ModelOptions(Options):
    """Which model a party runs and how."""

    model: str
    """A folder, a hub id, or `zoo:NAME` for a model shipped with LaDa (`lada zoo list`)."""
    tune: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    prompt: str = "{question}\n"
    max_new_tokens: int = 160
    batch_size: int = 128
    """Samples that are answered, judged or embedded at once."""
    generation: Generation = Generation()
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""
