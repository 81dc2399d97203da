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
    tune: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """How accelerate spreads the layers over this machine's devices; None: all on `device`."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """None: what transformers chooses for the architecture."""
    quantise: Literal["8bit", "4bit"] | None = None
    """Frozen weights in 8 or 4 bits by bitsandbytes, under LoRA."""
    prompt: str = "{question}\n"
    max_new_tokens: int = 160
    batch_size: int = 128
    """Samples that are answered, judged or embedded at once."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""
