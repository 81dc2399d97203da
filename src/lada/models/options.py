"""Which model a party runs, and how."""

from typing import Annotated, Literal

from pydantic import Field

from lada.core.registry import Options
from lada.core.terms import Verb


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685); `targets` None leaves the choice of layers to peft."""

    rank: int = 8
    """Rank of the two factors of each adapted layer."""
    alpha: int = 16
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = 0.0
    """Dropout in front of the adapter while it studies, 0 to 1."""
    targets: tuple[str, ...] | None = None
    """Names of the layers that are adapted."""


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
    """Train all weights, or a LoRA adapter alone."""
    lora: LoraOptions = LoraOptions()
    """The adapter of `tune: lora`."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA, else MPS, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a CUDA device that computes it, else float32."""
    prompt: str = "{question}\n"
    """For a tokenizer without a chat template; `{question}` stands for the question."""
    max_new_tokens: int = 160
    """The longest answer, tokens."""
    batch_size: int = 128
    """Samples that are answered, judged or embedded at once."""
    generation: Generation = Generation()
    """How answers are written."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""
