"""Which model a party runs, and how."""

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lada.core.bounds import AnswerTokens, BatchSize, Seconds
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.core.thinking import TAGS
from lada.models.learners import LearnerOptions

DATE = datetime.date(2026, 1, 1)
"""The day that chat templates are told where nothing else is set."""


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685)."""

    rank: int = Field(default=8, ge=1, le=4096)
    """Rank of the two factors of each adapted layer."""
    alpha: int = Field(default=16, ge=1, le=65_536)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the adapter while it studies, 0 to below 1. Above 0, fused experts cannot be adapted."""
    targets: tuple[str, ...] | None = None
    """Names of the layers that are adapted, and of fused experts, such as `experts.down_proj`. None: all linear layers
    and fused experts, but no routers, not the layer of the logits, and nothing that is read past an adapter."""


class Generation(Options):
    """How answers are written. Backends differ in speed, in the rounding of floats and in what they draw."""

    backend: Literal["batch", "continuous", "vllm"] = "batch"
    """batch: LaDa's own loop, for every causal LM. continuous: transformers' continuous batching, a new question for
    each that is done. vllm: an engine of its own, which is built for every call and wants `pip install vllm`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Where answers are sampled: the share of the probability that the likeliest tokens drawn from have together."""
    top_k: int | None = Field(default=None, ge=1, le=10_000_000)
    """Where answers are sampled: how many of the likeliest tokens are drawn from."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end an answer and are not part of it. Special tokens are no text."""


class Think(Options):
    """The tags between which a model thinks before it answers."""

    open: str = "<think>"
    """The tag in front of thinking."""
    close: str = "</think>"
    """The tag behind it."""
    keep: bool = True
    """Whether thinking is part of a path; else a path is what follows it."""

    @model_validator(mode="after")
    def _known(self) -> "Think":
        if not (self.open.strip() and self.close.strip()) or self.open == self.close:
            raise ValueError(f"open is {self.open!r} and close {self.close!r}; expected two different tags")
        if self.keep and TAGS.get(self.open) != self.close:
            known = ", ".join(f"{a} {b}" for a, b in TAGS.items())
            raise ValueError(
                f"keep is true with tags {self.open!r} and {self.close!r}, which nobody would know in a path; expected "
                f"one of {known}, or keep: false"
            )
        return self


class Parallel(Options):
    """Data parallel studying: a copy of the model on each of several devices, which share every batch."""

    processes: int = Field(ge=2, le=64)
    """Copies of the model: on CUDA one for each of the first devices; on a CPU each is a process of its own."""
    timeout: Seconds = 1800.0
    """Seconds that one of them may be silent, as while it loads the model, before a study fails."""


class ModelOptions(LearnerOptions):
    """Which model a party runs and how."""

    model: str
    """A folder, a hub id, or `zoo:NAME` for a model shipped with LaDa (`lada zoo list`)."""
    revision: str | None = None
    """A commit, branch or tag of a hub id."""
    tune: Literal["full", "lora"] = "full"
    """Train all weights, or a LoRA adapter alone."""
    lora: LoraOptions = LoraOptions()
    """The adapter of `tune: lora`."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA, else MPS, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on a CUDA device that computes it, else float32."""
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """How accelerate spreads the layers over this machine's devices; None: all on `device`."""
    parallel: Parallel | None = None
    """Study with several copies of the model at once; answering is one copy's work. None: one."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """None: what transformers chooses for the architecture, which is PyTorch's fused `sdpa` wherever it has it."""
    quantise: Literal["8bit", "4bit"] | None = None
    """Frozen weights in 8 bits (arXiv 2208.07339) or 4 bits (NF4, arXiv 2305.14314) by bitsandbytes, under LoRA."""
    gradient_checkpointing: bool = False
    """Compute activations anew on the way back: less memory, more time, the same gradients."""
    compile: bool = False
    """Let torch.compile write kernels for studies: the first step takes minutes, later ones less time than without, and
    floats round differently."""
    system: str | None = None
    """A system message, for a tokenizer with a chat template. A template without that role gets it before the
    question."""
    think: Think | None = None
    """For reasoning models; `{}` for `<think>` and `</think>`. None: a chat template that can switch thinking off
    (`enable_thinking`) does so, and tags are text like any other."""
    date: datetime.date = DATE
    """What a chat template that writes the day is told, so that a run gives the same on every day."""
    prompt: str = "{question}\n"
    """For a tokenizer without a chat template; `{question}` stands for the question."""
    max_new_tokens: AnswerTokens = 160
    """The longest answer, tokens; less than the model's context, of which a question needs some too. An answer that has
    not ended by then counts as cut; no end is learnt from it."""
    batch_size: BatchSize = 128
    """Samples that are answered, judged or embedded at once; fewer where memory runs out."""
    generation: Generation = Generation()
    """How answers are written."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""

    @model_validator(mode="after")
    def _fits(self) -> "ModelOptions":
        if self.quantise is not None and self.generation.backend == "vllm":
            raise ValueError(
                f"quantise is {self.quantise!r} with generation.backend 'vllm', which gets weights that the adapter is "
                "merged into; set backend: batch"
            )
        if self.quantise is not None and self.tune != "lora":
            raise ValueError(
                f"quantise is {self.quantise!r} with tune 'full'; 8 and 4 bits cannot be trained: set tune: lora"
            )
        studies = self.verbs is None or Verb.STUDY in self.verbs
        if self.dtype == "float16" and self.tune == "full" and studies:
            raise ValueError(
                "dtype is 'float16' with tune 'full', whose gradients would underflow; set dtype: bfloat16 or float32, "
                "or tune: lora, which trains in float32"
            )
        if self.device_map is not None and self.device != "auto":
            raise ValueError(
                f"device_map is {self.device_map!r} with device {self.device!r}; expected one of both, so leave one out"
            )
        if self.parallel is not None and self.device_map is not None:
            raise ValueError(
                f"device_map is {self.device_map!r} with parallel; the first spreads one copy of the model over the "
                "devices, the second puts a copy on each: leave one out"
            )
        return self

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions: a model in Hugging Face format can all that it may."""
        return frozenset(Verb) if self.verbs is None else frozenset(self.verbs)

    @property
    def limited_by(self) -> str:
        """See LearnerOptions."""
        return "model.verbs"

    @property
    def source(self) -> str:
        """See LearnerOptions."""
        return self.model

    @property
    def texts(self) -> tuple[str, ...]:
        """See LearnerOptions."""
        return (self.prompt, self.system or "")
