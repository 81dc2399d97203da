"""Quantised matrices: Q8_0 by the package gguf, Q4_K_M by llama.cpp's own tool.

Both store blocks of neighbouring values in a row, each block with its own scale. Rows that are not a multiple of a
block stay unquantised.
"""

import logging
import shutil
import subprocess
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lada.core.distribution import install_command
from lada.core.errors import InputError, LadaError
from lada.core.plural import counted, plural
from lada.export.target import quiet, require

NATIVE, BY_TOOL = "q8_0", "q4_k_m"
TOOL = "llama-quantize"
COARSE = 0.25
"""The largest accepted error of a tensor in 4 bits, relative to its size. Rounding to 4 bits gives about 0.1; a wrong
tensor or a wrong order gives 1.4."""


def form_of(shape: tuple[int, ...], half: bool, quantise: str | None) -> Any:
    """Return the gguf type in which a float32 tensor is stored."""
    types = require("gguf", "gguf").GGMLQuantizationType
    if len(shape) < 2:
        return types.F32
    if quantise == NATIVE and shape[-1] % 32 == 0:
        return types.Q8_0
    return types.F16 if half else types.F32


def stored(data: np.ndarray, form: Any) -> np.ndarray:
    """Return float32 values in their stored form; bytes if quantised."""
    return require("gguf", "gguf").quants.quantize(data, form)


def stored_shape(shape: tuple[int, ...], form: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the result of `stored`."""
    gguf = require("gguf", "gguf")
    types = {gguf.GGMLQuantizationType.F32: np.float32, gguf.GGMLQuantizationType.F16: np.float16}
    if form in types:
        return shape, np.dtype(types[form])
    return gguf.quants.quant_shape_to_byte_shape(shape, form), np.dtype(np.uint8)


def read(entry: Any) -> np.ndarray:
    """Return the values of a tensor from gguf's reader, float32."""
    return require("gguf", "gguf").quants.dequantize(entry.data, entry.tensor_type)


def error_of(entry: Any, wanted: np.ndarray, quantise: str | None) -> tuple[float, float]:
    """Return the error of a tensor from gguf's reader, compared with its original, and the largest allowed error."""
    found = read(entry)
    if quantise != BY_TOOL:
        form = form_of(wanted.shape, entry.data.dtype == np.float16, quantise)
        exact = require("gguf", "gguf").quants.dequantize(stored(wanted, form), form)
        # One is added to Gemma's norms and subtracted again, which may cost the last bit of a float32.
        return float(np.abs(found - exact).max(initial=0)), 1e-6
    size = float(np.sqrt(np.mean(wanted.astype(np.float64) ** 2)))
    error = float(np.sqrt(np.mean((found.astype(np.float64) - wanted) ** 2)))
    return error / size if size else error, COARSE


def larger(entries: Iterable[Any], quantise: str) -> tuple[str, ...]:
    """Return a note on the matrices that no block fits, so that they take more bits."""
    block = 32 if quantise == NATIVE else 256
    matrices = [entry for entry in entries if len(entry.shape) > 1]
    kept = [entry for entry in matrices if entry.shape[0] % block]  # gguf lists the row's size first
    if not kept:
        return ()
    forms = ", ".join(sorted({entry.tensor_type.name for entry in kept}))
    return (
        f"{len(kept)} of {counted(len(matrices), 'matrix', 'matrices')} {plural(len(kept), 'is', 'are')} not in "
        f"{quantise.upper()} but in {forms}, since {plural(len(kept), 'its', 'their')} rows are no multiples of "
        f"{block}",
    )


def need_tool() -> None:
    """Raise InputError if neither llama-cpp-python nor llama.cpp's tool is installed."""
    if find_spec("llama_cpp") is None and shutil.which(TOOL) is None:
        raise InputError(
            f"--dtype: {BY_TOOL!r} takes llama.cpp's own tool, which is missing; install it with "
            f"{install_command('llama-cpp')}, put {TOOL} of llama.cpp on the PATH, or choose {NATIVE}"
        )


def by_tool(source: Path, file: Path) -> None:
    """Write the GGUF file `source` again in Q4_K_M. Raises LadaError if llama.cpp fails."""
    if find_spec("llama_cpp") is None:
        words = [TOOL, str(source), str(file), BY_TOOL.upper()]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        failed, why = done.returncode, done.stderr.strip().splitlines()[-1:]
    else:
        llama_cpp = import_module("llama_cpp")
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
        with quiet("llama-cpp-python", logging.CRITICAL):  # for which warnings are errors
            failed = llama_cpp.llama_model_quantize(str(source).encode(), str(file).encode(), params)
        why = []
    if failed:
        raise LadaError(f"export: llama.cpp could not quantise {str(source)!r}: {' '.join(why) or f'code {failed}'}")
