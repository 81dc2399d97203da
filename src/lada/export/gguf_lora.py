"""Target `gguf-lora`: only the adapter, as one file that llama.cpp applies to a GGUF file of the party's base.

An adapted matrix becomes two tensors, `lora_a` [rank, in] and `lora_b` [out, rank]. The latter's rows are ordered like
the base's.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.export import gguf as whole
from lada.export.check import Check, Trial, compare
from lada.export.gguf_architectures import architecture_of, text_of
from lada.export.gguf_runtime import NOT_RUN, running, tokenised
from lada.export.gguf_tensors import TEXT, TRANSPOSED, has_output, layout_of, place_of
from lada.export.target import Parcel, Target, require

A, B = ".lora_A.default.weight", ".lora_B.default.weight"


def ready(model: Any, _: Any) -> None:
    """Raise InputError if llama.cpp could not apply such an adapter to the base."""
    for _ in _pairs(model):
        pass


def file_of(parcel: Parcel) -> Path:
    """Return the path of the file."""
    return parcel.output / f"{parcel.name}-lora.gguf"


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write the file; return notes for its user."""
    gguf = require("gguf", "gguf")
    arch = getattr(gguf.MODEL_ARCH, architecture_of(parcel.model.config).name)
    with closing(gguf.GGUFWriter(file_of(parcel), gguf.MODEL_ARCH_NAMES[arch])) as writer:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_name(parcel.name)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        # llama.cpp divides it by the rank, which it sees.
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(parcel.model.peft_config["default"].lora_alpha))
        half = parcel.dtype == torch.float16
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.ALL_F32)
        for name, tensor in _pairs(parcel.model):
            writer.add_tensor(name, _stored(tensor, parcel.dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    base = f"the adapter needs a GGUF file of its base, {parcel.base!r}"
    return (base, *(() if find_spec("llama_cpp") else (NOT_RUN,)))


def _pairs(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an adapter with their names in the file. Raises InputError for a tensor that llama.cpp
    lacks."""
    gguf = require("gguf", "gguf")
    base = model.get_base_model()
    config = text_of(base.config)
    architecture = architecture_of(config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.name), config.num_hidden_layers)
    state = base.state_dict()
    for key, tensor in state.items():
        if "lora_" not in key or (config is not base.config and not key.startswith((TEXT, "lm_head."))):
            continue
        plain = f"{key.split('.lora_')[0]}.weight".replace(TEXT, "model.", 1)
        tied = plain == "lm_head.weight" and not has_output(config, architecture)
        if tied or not key.endswith((A, B)):
            why = ", which is that of the embeddings" if tied else ""
            raise InputError(
                f"export: llama.cpp takes no adapter over {plain!r}{why}; expected linear layers, or export to gguf "
                "instead, with the adapter in the weights"
            )
        place = place_of(plain, names, architecture)
        if key.endswith(A):
            yield f"{place}.lora_a", tensor
        else:
            layout = layout_of(plain, config, architecture)
            # GPT-2's matrices are transposed, but adapters over them are not.
            yield f"{place}.lora_b", tensor if layout is TRANSPOSED else layout.there(tensor)


def _stored(tensor: Tensor, dtype: torch.dtype) -> np.ndarray:
    return tensor.detach().to(dtype).contiguous().cpu().numpy()


def check(parcel: Parcel, trial: Trial) -> Check:
    """Read the file back; if llama.cpp is installed, run the trial with the adapter over a GGUF file of the base."""
    tensors = read_back(parcel)
    if find_spec("llama_cpp") is None or not tensors.passed:
        return tensors
    with tempfile.TemporaryDirectory(dir=parcel.output) as place:
        base = replace(parcel, model=parcel.model.unload(), dtype=torch.float32, output=Path(place))
        whole.write(base)
        with running(whole.file_of(base), trial, file_of(parcel)) as (start, llama, runtime):
            return compare(trial, start, runtime, tokenised(llama, parcel, trial))


def read_back(parcel: Parcel) -> Check:
    """Read the file and compare every tensor with PyTorch's."""
    gguf = require("gguf", "gguf")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(file_of(parcel)).tensors}
    gaps = []
    for name, tensor in _pairs(parcel.model):
        entry, wanted = found.pop(name, None), _stored(tensor, torch.float32)
        right = entry is not None and entry.data.shape == wanted.shape
        gaps.append(float(np.abs(entry.data - wanted).max()) if entry is not None and right else float("inf"))
    gaps += [float("inf")] * len(found)
    return Check(f"gguf {version('gguf')}", "tensors", len(gaps), sum(gap == 0 for gap in gaps), max(gaps))


GGUF_LORA = Target(("float32", "float16"), whole.known, ready, write, check, adapter=True)
