"""From a folder or a hub id to a learner, with an explanation of whatever is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lada.core.errors import InputError
from lada.models.learner import HuggingFaceLearner
from lada.models.options import LoraOptions, ModelOptions


def pick_device(wish: str) -> torch.device:
    """Return the device for a wish; `auto` takes CUDA, then MPS, then the CPU."""
    if wish != "auto":
        return torch.device(wish)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(wish: str, device: torch.device) -> torch.dtype:
    """Return the dtype for a wish; `auto` is bfloat16 on a CUDA device that computes it, else float32."""
    if wish != "auto":
        return getattr(torch, wish)
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def load(
    folder: str, options: ModelOptions, *, init_seed: int = 0, saved: FilePath | None = None
) -> HuggingFaceLearner:
    """Load model and tokenizer from a folder or a hub id; InputError names what is missing.

    `saved` is a folder that `HuggingFaceLearner.save` wrote for a learner of the same `folder` and options: the
    learner is brought back to the same bits. `init_seed` seeds weights that are drawn here (LoRA's A matrices), so
    that a run repeats to the bit.
    """
    source = str(saved) if saved and options.tune == "full" else folder
    if saved and (saved / "adapter_config.json").exists() != (options.tune == "lora"):
        raise InputError(
            f"model.tune: {options.tune!r}, but {str(saved)!r} was not saved so; expected the tuning of that run"
        )
    device = pick_device(options.device)
    tokenizer = load_tokenizer(source)
    with _explained(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=pick_dtype(options.dtype, device), output_loading_info=True
        )
    model, info = loaded
    if info["missing_keys"]:  # transformers would draw these at random and go on
        raise InputError(
            f"model: {source!r} lacks the weights {', '.join(sorted(info['missing_keys'])[:3])}; expected those of a "
            f"whole {type(model).__name__}"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise InputError(
            f"model: the tokenizer of {source!r} has {len(tokenizer)} tokens but the model only {rows} embeddings; "
            "call model.resize_token_embeddings(len(tokenizer)) and save it again"
        )
    if options.tune == "lora":
        model = with_adapter(model, options.lora, init_seed, saved)
    return HuggingFaceLearner(model.to(device), tokenizer, options)


def load_tokenizer(source: str) -> Any:
    """Load configuration and tokenizer of a folder or hub id and return the tokenizer; cheap, unlike the weights.

    Raises InputError, naming what is missing.
    """
    if FilePath(source).is_dir() and not _has_tokenizer(FilePath(source)):
        raise InputError(
            f"model: folder {source!r} has no tokenizer; expected tokenizer.json or tokenizer_config.json beside "
            "the weights; save it there with tokenizer.save_pretrained(folder)"
        )
    with _explained(source):
        AutoConfig.from_pretrained(source)
        return AutoTokenizer.from_pretrained(source)


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn what transformers says of a model that it cannot load into an InputError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"model: cannot load {source!r}: {str(error).partition(chr(10))[0]}; expected a folder with config.json, "
            "weights and tokenizer, a hub id, or zoo:NAME"
        ) from error


def with_adapter(model: Any, lora: LoraOptions, init_seed: int, saved: FilePath | None) -> Any:
    """Return the model with a saved adapter, or a new one that changes nothing yet."""
    from peft import LoraConfig, PeftModel, get_peft_model

    if saved:
        return PeftModel.from_pretrained(model, saved, is_trainable=True)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(init_seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise InputError(
                f"model.lora.targets: {lora.targets}: {str(error).partition(chr(10))[0]}; expected names of linear "
                f"layers of {type(model).__name__}, such as those in print(model)"
            ) from error


def _has_tokenizer(folder: FilePath) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))
