"""Which model a party runs, and how it runs it."""

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lada.core.bounds import AnswerTokens, BatchSize, Seconds
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.terms import Verb
from lada.core.thinking import TAGS
from lada.models.learners import LearnerOptions

DATE = datetime.date(2026, 1, 1)
"""The default date for chat templates that write the day."""


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685)."""

    rank: int = Field(default=8, ge=1, le=4096)
    """Rank of the two factors of each adapted layer."""
    alpha: int = Field(default=16, ge=1, le=65_536)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the adapter during training, from 0 to below 1. With a value above 0, fused experts cannot be
    adapted."""
    targets: tuple[str, ...] | None = None
    """Names of the adapted layers and fused experts, such as `experts.down_proj`. None adapts all linear layers and
    fused experts. It leaves out routers, the output layer and layers whose weights a kernel reads directly."""


class Generation(Options):
    """How answers are generated. Backends differ in speed, in floating-point rounding and in their random samples."""

    backend: Literal["batch", "continuous", "vllm"] = "batch"
    """`batch`: LaDa's own loop, for every causal LM. `continuous`: continuous batching of transformers, which starts a
    new question whenever one finishes. `vllm`: vLLM's engine, built again for every call; requires `pip install
    vllm`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """For sampling: draw from the likeliest tokens whose probabilities add up to this share."""
    top_k: int | None = Field(default=None, ge=1, le=10_000_000)
    """For sampling: draw from this many of the likeliest tokens."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end an answer and are not part of it. Special tokens do not count as text."""


class Think(Options):
    """The tags that enclose a model's thinking before its answer."""

    open: str = "<think>"
    """The tag before the thinking."""
    close: str = "</think>"
    """The tag after the thinking."""
    keep: bool = True
    """Keep the thinking as part of the path. Otherwise a path is only what follows it."""

    @model_validator(mode="after")
    def _known(self) -> "Think":
        if not (self.open.strip() and self.close.strip()) or self.open == self.close:
            raise ValueError(f"open is {self.open!r} and close {self.close!r}; expected two different tags")
        if self.keep and TAGS.get(self.open) != self.close:
            known = ", ".join(f"{a} {b}" for a, b in TAGS.items())
            raise ValueError(
                f"keep is true with tags {self.open!r} and {self.close!r}, which no method recognises in a path; "
                f"expected one of {known}, or keep: false"
            )
        return self


class Parallel(Options):
    """Data-parallel training: a copy of the model on each of several devices, which share every batch."""

    processes: int = Field(ge=2, le=64)
    """Number of copies of the model. On CUDA, each of the first devices holds one. On a CPU, each is a separate
    process."""
    timeout: Seconds = 1800.0
    """Seconds that a copy may be silent, for example while it loads the model, before the study fails."""


class ModelOptions(LearnerOptions):
    """Which model a party runs, and how it runs it."""

    model: str
    """A folder, a hub id, or `zoo:NAME` for a model shipped with LaDa (`lada zoo list`)."""
    revision: str | None = None
    """A commit, branch or tag of a hub id."""
    tune: Literal["full", "lora"] = "full"
    """Train all weights, or only a LoRA adapter."""
    lora: LoraOptions = LoraOptions()
    """The adapter for `tune: lora`."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` selects CUDA, else MPS, else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` selects bfloat16 on a CUDA device that supports it, else float32."""
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """How accelerate distributes the layers over this machine's devices. None puts all of them on `device`."""
    parallel: Parallel | None = None
    """Train with several copies of the model at once. One copy alone generates answers. None means one copy."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """The attention implementation. None leaves the choice to transformers, which prefers PyTorch's fused `sdpa` if the
    architecture supports it."""
    quantise: Literal["8bit", "4bit"] | None = None
    """Freeze the weights under LoRA in 8 bits (arXiv 2208.07339) or 4 bits (NF4, arXiv 2305.14314), by bitsandbytes."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass. This takes less memory and more time, and gives the same
    gradients."""
    compile: bool = False
    """Compile kernels for training with torch.compile. The first step takes minutes, later ones are faster, and floats
    round differently."""
    system: str | None = None
    """A system message, for a tokenizer with a chat template. If the template has no system role, the message precedes
    the question."""
    think: Think | None = None
    """Thinking tags of a reasoning model; `{}` means `<think>` and `</think>`. With None, a chat template that can
    switch thinking off (`enable_thinking`) does so, and tags are plain text."""
    date: datetime.date = DATE
    """Date for chat templates that write the day. It is fixed so that a run gives the same results on every day."""
    prompt: str = "{question}\n"
    """Prompt for a tokenizer without a chat template; `{question}` stands for the question."""
    max_new_tokens: AnswerTokens = 160
    """Maximum length of an answer, in tokens. It must leave room for the question in the model's context. A longer
    answer is cut, and no end is learnt from it."""
    batch_size: BatchSize = 128
    """Samples that are answered, judged or embedded at once. LaDa lowers it if memory runs out."""
    generation: Generation = Generation()
    """How answers are generated."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked to do. None allows everything. `[answer, explain]` treats it like an LLM behind an
    API."""

    @model_validator(mode="after")
    def _fits(self) -> "ModelOptions":
        if self.quantise is not None and self.generation.backend == "vllm":
            raise ValueError(
                f"quantise is {self.quantise!r} with generation.backend 'vllm', which needs weights with the adapter "
                "merged in; set backend: batch"
            )
        if self.quantise is not None and self.tune != "lora":
            raise ValueError(
                f"quantise is {self.quantise!r} with tune 'full', but 8- and 4-bit weights cannot be trained; set "
                "tune: lora"
            )
        studies = self.verbs is None or Verb.STUDY in self.verbs
        if self.dtype == "float16" and self.tune == "full" and studies:
            raise ValueError(
                "dtype is 'float16' with tune 'full', whose gradients would underflow; set dtype: bfloat16 or float32, "
                "or tune: lora, which trains in float32"
            )
        if self.device_map is not None and self.device != "auto":
            raise ValueError(
                f"device_map is {self.device_map!r} with device {self.device!r}; expected only one of the two, so "
                "leave one out"
            )
        if self.parallel is not None and self.device_map is not None:
            raise ValueError(
                f"device_map is {self.device_map!r} with parallel; the first spreads one copy of the model over the "
                "devices, the second puts a copy on each: leave one out"
            )
        return self

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions: everything that `verbs` allows."""
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

    def tuned(self, *, full: bool, ranks: bool) -> dict[str, Any]:
        """See LearnerOptions: the model comes first."""
        if self.tune != "lora" and not full:
            raise InputError(f"has model.tune {self.tune!r}; expected 'lora'")
        alike = {"model": self.model, "revision": self.revision, "tune": self.tune}
        if self.tune == "full":
            return alike
        return {**alike, **({"lora.targets": self.lora.targets} if ranks else {"lora": self.lora})}
