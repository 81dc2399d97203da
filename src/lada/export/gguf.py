"""Target `gguf`: one file for llama.cpp and software built on it, and the trial in llama.cpp itself.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Matrices are float16, float32 or quantised; norms
and biases are float32.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lada.export.check import Check, Trial, compare, torch_start
from lada.export.gguf_architectures import architecture_of, text_of
from lada.export.gguf_name import name_of
from lada.export.gguf_quantise import (
    BY_TOOL,
    NATIVE,
    by_tool,
    error_of,
    form_of,
    larger,
    need_tool,
    read,
    stored,
    stored_shape,
)
from lada.export.gguf_runtime import NOT_RUN, running, tokenised
from lada.export.gguf_settings import notes_on_context, write_settings, write_tokens
from lada.export.gguf_tensors import Layout, named_tensors
from lada.export.gguf_tokens import Vocabulary, vocabulary_of
from lada.export.target import Parcel, Target, require
from lada.export.template import notes_on_prompts

TEXT_ALONE = "the file holds only the part of the model that reads and writes text, not the part for images"
COARSER = "llama.cpp computes with fewer bits than PyTorch, so texts may differ from those of the party"


def known(config: Any) -> None:
    """Raise InputError if the package gguf is missing or llama.cpp lacks this kind of model."""
    require("gguf", "gguf")
    architecture_of(config)


def ready(model: Any, tokenizer: Any) -> None:
    """Raise InputError if llama.cpp lacks this kind of tokenizer."""
    _vocabulary(model, tokenizer, ())


def _vocabulary(model: Any, tokenizer: Any, texts: Sequence[str]) -> Vocabulary:
    return vocabulary_of(tokenizer, model.get_input_embeddings().weight.shape[0], texts)


def file_of(parcel: Parcel) -> Path:
    """Return the path of the file."""
    bits = f"-{parcel.quantise.upper()}" if parcel.quantise else ""
    return parcel.output / f"{parcel.name}{bits}.gguf"


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write the file, one tensor after another; return notes on what its tokenizer cannot do."""
    if parcel.quantise == BY_TOOL:
        whole = file_of(parcel).with_suffix(".part")
        vocabulary = _write(parcel, whole)
        parcel.tell("quantised by llama.cpp", 0, 1)
        by_tool(whole, file_of(parcel))
        whole.unlink()
        parcel.tell("quantised by llama.cpp", 1, 1)
    else:
        vocabulary = _write(parcel, file_of(parcel))
    prompts = notes_on_prompts(parcel.encode(parcel.tokenizer), parcel.prompt)
    fewer = (COARSER, *larger(_entries(parcel).values(), parcel.quantise)) if parcel.quantise else ()
    context = notes_on_context(text_of(parcel.model.config))
    images = (TEXT_ALONE,) if text_of(parcel.model.config) is not parcel.model.config else ()
    spaces = name_of(parcel.name, parcel.tokenizer)[1]
    told = (*images, *vocabulary.notes, *spaces, *prompts, *_more_ends(parcel), *context, *fewer)
    return told if find_spec("llama_cpp") else (*told, NOT_RUN)


def _entries(parcel: Parcel) -> dict[str, Any]:
    """Return the tensors of the file by name, from gguf's reader."""
    return {tensor.name: tensor for tensor in require("gguf", "gguf").GGUFReader(file_of(parcel)).tensors}


def _more_ends(parcel: Parcel) -> tuple[str, ...]:
    names = ", ".join(repr(parcel.tokenizer.convert_ids_to_tokens(index)) for index in parcel.ends[3:])
    return (f"a file names three ids that end an answer; llama.cpp knows {names} by the text alone",) if names else ()


def _write(parcel: Parcel, file: Path) -> Vocabulary:
    """Write the model to `file`, unquantised if llama.cpp's tool quantises it afterwards."""
    gguf = require("gguf", "gguf")
    config = text_of(parcel.model.config)
    architecture = architecture_of(config)
    vocabulary = _vocabulary(parcel.model, parcel.tokenizer, parcel.questions)
    arch = getattr(gguf.MODEL_ARCH, architecture.name)
    half = parcel.dtype == torch.float16
    with closing(gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[arch])) as writer:
        if name := name_of(parcel.name, parcel.tokenizer)[0]:
            writer.add_name(name)
        write_settings(writer, config, architecture, parcel.context)
        kinds = gguf.LlamaFileType
        if parcel.quantise == NATIVE:
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            writer.add_file_type(kinds.MOSTLY_Q8_0)
        else:
            writer.add_file_type(kinds.MOSTLY_F16 if half else kinds.ALL_F32)
        write_tokens(writer, parcel, vocabulary)
        tensors = list(_tensors(parcel.model))
        forms = [form_of(tuple(layout.there(tensor).shape), half, parcel.quantise) for _, tensor, layout in tensors]
        for (name, tensor, layout), form in zip(tensors, forms, strict=True):
            shape, kind = stored_shape(tuple(layout.there(tensor).shape), form)
            writer.add_tensor_info(name, shape, kind, int(np.prod(shape)) * kind.itemsize, raw_dtype=form)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, ((_, tensor, layout), form) in enumerate(zip(tensors, forms, strict=True)):
            parcel.tell("tensors written", done, len(tensors))
            writer.write_tensor_data(stored(_values(tensor, layout), form))
        parcel.tell("tensors written", len(tensors), len(tensors))
    return vocabulary


def _tensors(model: Any) -> Iterator[tuple[str, Tensor, Layout]]:
    gguf = require("gguf", "gguf")
    config = text_of(model.config)
    architecture = architecture_of(config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.name), config.num_hidden_layers)
    return named_tensors(model, names, architecture)


def _values(tensor: Tensor, layout: Layout) -> np.ndarray:
    """Return a tensor in llama.cpp's layout, float32."""
    return layout.there(tensor.detach().float()).contiguous().cpu().numpy()


def check(parcel: Parcel, trial: Trial) -> Check:
    """Read the file back and compare it tensor by tensor; if all are equal, run the trial in llama.cpp.

    Without llama-cpp-python, only the tensors are compared.
    """
    tensors = read_back(parcel, trial)
    if find_spec("llama_cpp") is None or tensors.same < tensors.total:
        return tensors
    if parcel.quantise:
        _take_back(parcel)
        trial = replace(trial, expected=trial.answers(torch_start(parcel.model), "PyTorch, with fewer bits"))
    with running(file_of(parcel), trial) as (start, llama, runtime):
        found = compare(trial, start, runtime, tokenised(llama, parcel, trial))
    return replace(found, lossy=parcel.quantise is not None)


def read_back(parcel: Parcel, trial: Trial) -> Check:
    """Read the file and compare every tensor with PyTorch's; for 4 bits, the error is relative to the tensor's size.

    With as many bits as PyTorch, the file gives the same texts as PyTorch.
    """
    found = _entries(parcel)
    gaps = []
    for name, tensor, layout in _tensors(parcel.model):
        entry, wanted = found.pop(name, None), _values(tensor, layout)
        if entry is None or tuple(entry.shape[::-1]) != wanted.shape:
            gaps.append((float("inf"), 0.0))
        else:
            gaps.append(error_of(entry, wanted, parcel.quantise))
    gaps += [(float("inf"), 0.0)] * len(found)
    same, largest = sum(gap <= most for gap, most in gaps), max(gap for gap, _ in gaps)
    as_trained = None if parcel.quantise else trial.alike(trial.expected, trial.as_trained)
    asked = len(trial.expected)
    return Check(f"gguf {version('gguf')}", "tensors", len(gaps), same, largest, as_trained, asked=asked)


@torch.no_grad()
def _take_back(parcel: Parcel) -> None:
    """Copy the file's weights into PyTorch's model."""
    found = _entries(parcel)
    for name, tensor, layout in _tensors(parcel.model):
        tensor.copy_(layout.back(torch.from_numpy(np.array(read(found[name])))))


GGUF = Target(
    ("float16", "float32"),
    known,
    ready,
    write,
    check,
    least_dims=2,
    quantised={NATIVE: lambda: None, BY_TOOL: need_tool},
)
