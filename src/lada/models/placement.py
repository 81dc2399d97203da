"""Decides where and how precisely a model computes: devices, dtype, bits and attention."""

import ctypes
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lada.core.errors import InputError
from lada.core.extras import look_for
from lada.core.plural import counted
from lada.models.options import Generation, ModelOptions

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig

PAGED = (5, 17)
"""The first version of transformers whose continuous batching accepts the sizes of its cache in the form used here."""
AMD = Path("/dev/kfd")
"""The file that exists on Linux if there is a driver for AMD devices."""


def may_be_accelerated() -> bool:
    """Whether PyTorch may find an accelerator. Without a driver it cannot, so it need not be imported to ask."""
    return "torch" in sys.modules or has_driver()


def has_driver() -> bool:
    """Whether there is a driver of an accelerator: checked on Linux, assumed elsewhere."""
    if not sys.platform.startswith("linux") or AMD.exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")  # as PyTorch looks for Nvidia's driver
    except OSError:
        return False
    return True


def device_type(wish: str) -> str:
    """Return the type of device for a wish: `auto` selects CUDA, else MPS, else the CPU.

    Raises InputError for a missing device.
    """
    there = {"cuda": False, "mps": False, "cpu": True}
    if may_be_accelerated():
        import torch

        there |= {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wish == "auto":
        return next(name for name, found in there.items() if found)
    if not there[wish]:
        raise InputError(f"model.device: {wish!r}, but PyTorch finds none on this machine; expected auto or cpu")
    return wish


def pick_device(wish: str) -> "torch.device":
    """Return the device for a wish, as device_type does."""
    import torch

    return torch.device(device_type(wish))


def dtype_name(wish: str, device: str) -> str:
    """Return the name of the dtype for a wish; `auto` is bfloat16 on a CUDA device that supports it, else float32."""
    if wish != "auto":
        return wish
    if not device.startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def pick_dtype(wish: str, device: "torch.device") -> "torch.dtype":
    """Return the dtype for a wish, as dtype_name does."""
    import torch

    return getattr(torch, dtype_name(wish, device.type))


def check_backend(generation: Generation) -> None:
    """Raise InputError if the package of a backend is not installed or too old."""
    if generation.backend == "continuous":
        have = version("transformers")
        if tuple(map(int, have.split(".")[:2])) < PAGED:
            raise InputError(
                f"model.generation.backend: 'continuous' needs transformers {'.'.join(map(str, PAGED))} or newer, but "
                f"this is {have}; run `pip install -U transformers`, or set backend: batch"
            )
    if generation.backend == "vllm" and find_spec("vllm") is None:
        raise InputError(
            "model.generation.backend: 'vllm' is not installed; run `pip install vllm` on a machine that it "
            "supports, or set backend: batch"
        )


def check_placement(options: ModelOptions) -> None:
    """Raise InputError if this machine lacks a device or a package that the options need."""
    device = device_type(options.device)
    if options.attention in ("flash_attention_2", "flex_attention") and device != "cuda":
        raise InputError(f"model.attention: {options.attention!r} needs a CUDA device; expected sdpa or eager")
    if options.attention == "flash_attention_2" and not find_spec("flash_attn"):
        raise InputError(
            "model.attention: 'flash_attention_2' needs the package flash-attn; install it with: pip install "
            "flash-attn --no-build-isolation, or choose sdpa"
        )
    if options.quantise:
        look_for("bitsandbytes", f"model.quantise: {options.quantise!r}", "quantise")
    if options.quantise and device != "cuda":
        raise InputError(
            f"model.quantise: {options.quantise!r} needs a CUDA device; leave it out, with dtype: bfloat16 for half "
            "the memory of float32"
        )
    if options.parallel is not None:
        _check_parallel(options.parallel.processes, device)


def _check_parallel(processes: int, device: str) -> None:
    """Raise InputError if this machine cannot run that many copies of a model on devices of this type."""
    import torch
    import torch.distributed as dist

    wish = f"model.parallel.processes: {processes}"
    backend = {"cuda": ("NCCL", dist.is_nccl_available), "cpu": ("gloo", dist.is_gloo_available)}.get(device)
    if backend is None:
        raise InputError(f"{wish}, but a {device} device cannot be shared so; leave parallel out, or device: cpu")
    if device == "cuda" and (count := torch.cuda.device_count()) < processes:
        raise InputError(
            f"{wish}, but PyTorch finds {counted(count, 'CUDA device')} on this machine; expected "
            + (f"at most {count}" if count > 1 else "a model without parallel")
        )
    name, available = backend
    if not (dist.is_available() and available()):
        raise InputError(f"{wish} needs PyTorch with {name}, which this build lacks; leave parallel out")


def placement(options: ModelOptions) -> dict[str, Any]:
    """Return the arguments for `from_pretrained`. Without `device_map` among them, the model must still be moved."""
    check_placement(options)
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    told: dict[str, Any] = {"dtype": dtype}
    if options.attention is not None:
        told["attn_implementation"] = options.attention
    if options.device_map is not None:
        told["device_map"] = options.device_map
    if options.quantise is not None:
        told["quantization_config"] = _bits(options.quantise, dtype)
        told.setdefault("device_map", {"": device})  # weights are packed on the device where they stay
    return told


def _bits(quantise: str, dtype: "torch.dtype") -> "BitsAndBytesConfig":
    from transformers import BitsAndBytesConfig

    if quantise == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
