"""Which model a party runs, and how."""

from typing import Literal

from lada.core.registry import Options
from lada.core.terms import Verb


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685); `targets` None leaves the choice of layers to peft."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None


class ModelOptions(Options):
    """Which model a party runs and how."""

    model: str
    """A folder, a hub id, or `zoo:NAME` for a model shipped with LaDa (`lada zoo list`)."""
    revision: str | None = None
    """A commit, branch or tag of a hub id."""
    tune: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on a CUDA device that computes it, else float32."""
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """How accelerate spreads the layers over this machine's devices; None: all on `device`."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """None: what transformers chooses for the architecture."""
    quantise: Literal["8bit", "4bit"] | None = None
    """Frozen weights in 8 bits (arXiv 2208.07339) or 4 bits (NF4, arXiv 2305.14314) by bitsandbytes, under LoRA."""
    gradient_checkpointing: bool = False
    """Compute activations anew on the way back: less memory, more time, the same gradients."""
    prompt: str = "{question}\n"
    max_new_tokens: int = 160
    batch_size: int = 128
    """Samples that are answered, judged or embedded at once."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""
