"""Target `gguf`: one file for llama.cpp and what is built on it, and the trial in llama.cpp itself.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Matrices are float16 or float32, norms and biases
float32.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lada.export.check import Check, Start, Step, Trial, compare
from lada.export.gguf_tensors import Layout, architecture_of, head_size, named_tensors, rotary_of
from lada.export.gguf_tokens import Vocabulary, vocabulary_of
from lada.export.target import Parcel, Target, require
from lada.export.template import notes_on_prompts

NOT_RUN = "llama.cpp itself was not run; for that install it with pip install 'lada[llama-cpp]' and export again"


def ready(model: Any, tokenizer: Any) -> None:
    """Raise InputError where the package gguf is missing or llama.cpp lacks this kind of model or tokenizer."""
    require("gguf", "gguf")
    architecture_of(model)
    _vocabulary(model, tokenizer, ())


def _vocabulary(model: Any, tokenizer: Any, texts: Sequence[str]) -> Vocabulary:
    return vocabulary_of(tokenizer, model.get_input_embeddings().weight.shape[0], texts)


def file_of(parcel: Parcel) -> Path:
    """Return where the file is written."""
    return parcel.output / f"{parcel.name}.gguf"


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write the file, one tensor after another; return what the tokenizer in it cannot do."""
    gguf = require("gguf", "gguf")
    architecture = architecture_of(parcel.model)
    vocabulary = _vocabulary(parcel.model, parcel.tokenizer, parcel.questions)
    arch = getattr(gguf.MODEL_ARCH, architecture.name)
    with closing(gguf.GGUFWriter(file_of(parcel), gguf.MODEL_ARCH_NAMES[arch])) as writer:
        _settings(writer, parcel, getattr(parcel.model.config, architecture.norm))
        _tokens(writer, parcel, vocabulary)
        for name, tensor, layout in _tensors(parcel.model):
            data = _stored(layout.there(tensor), parcel.dtype)
            writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor, layout in _tensors(parcel.model):
            writer.write_tensor_data(_stored(layout.there(tensor), parcel.dtype))
    prompts = notes_on_prompts(parcel.encode(parcel.tokenizer), parcel.prompt)
    return (*vocabulary.notes, *prompts, *(() if find_spec("llama_cpp") else (NOT_RUN,)))


def _tensors(model: Any) -> Iterator[tuple[str, Tensor, Layout]]:
    gguf = require("gguf", "gguf")
    architecture = architecture_of(model)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.name), model.config.num_hidden_layers)
    return named_tensors(model, names, architecture)


def _stored(tensor: Tensor, dtype: torch.dtype) -> np.ndarray:
    return tensor.detach().to(dtype if tensor.dim() >= GGUF.least_dims else torch.float32).contiguous().cpu().numpy()


def _settings(writer: Any, parcel: Parcel, epsilon: float) -> None:
    """Write the sizes of the model."""
    gguf, config = require("gguf", "gguf"), parcel.model.config
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    writer.add_name(parcel.name)
    # llama.cpp attends to everything: it is told of no more than a sliding window holds.
    writer.add_context_length(min(parcel.context, window or parcel.context))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    writer.add_feed_forward_length(inner or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    rotary = rotary_of(parcel.model)
    if rotary is None:
        writer.add_layer_norm_eps(epsilon)
    else:
        writer.add_layer_norm_rms_eps(epsilon)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_rope_dimension_count(head_size(config))
        writer.add_key_length(head_size(config))
        writer.add_value_length(head_size(config))
    half = parcel.dtype == torch.float16
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.ALL_F32)


def _tokens(writer: Any, parcel: Parcel, vocabulary: Vocabulary) -> None:
    """Write the tokenizer."""
    tokenizer = parcel.tokenizer
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list([token.encode() for token in vocabulary.tokens])
    writer.add_token_types([int(kind) for kind in vocabulary.kinds])
    if vocabulary.scores is not None:
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.prefix)
    if vocabulary.merges is not None:
        writer.add_token_merges(list(vocabulary.merges))
    if vocabulary.charsmap is not None:
        writer.add_precompiled_charsmap(vocabulary.charsmap)
    writer.add_eos_token_id(parcel.eos)
    writer.add_pad_token_id(parcel.pad)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if vocabulary.unknown is not None:
        writer.add_unk_token_id(vocabulary.unknown)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_eos_token(False)  # a prompt is never closed: the answer is still to come
    if isinstance(template := getattr(tokenizer, "chat_template", None), str):
        writer.add_chat_template(template)


def check(parcel: Parcel, trial: Trial) -> Check:
    """Run the trial in llama.cpp; where it is not installed, read the file back and compare it tensor by tensor."""
    if find_spec("llama_cpp") is None:
        return read_back(parcel, trial)
    llama_cpp = import_module("llama_cpp")

    longest = max(map(len, trial.prompts)) + trial.limit
    llama = llama_cpp.Llama(
        str(file_of(parcel)),
        n_ctx=min(longest, trial.encoder.context),
        n_threads=torch.get_num_threads(),
        n_threads_batch=torch.get_num_threads(),
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )
    with closing(llama):
        count = sum(
            _ids(llama, parcel, question)[-len(ids) :] == list(ids)
            for question, ids in zip(trial.questions, trial.prompts, strict=True)
        )
        return compare(trial, llama_start(llama), f"llama.cpp (llama-cpp-python {llama_cpp.__version__})", count)


def _ids(llama: Any, parcel: Parcel, question: str) -> list[int]:
    """Return what llama.cpp makes of a question, through the template that the file holds."""
    text, chat = parcel.encode(parcel.tokenizer).text_before(question)
    return llama.tokenize(text.encode(), add_bos=not chat, special=True)


def llama_start(llama: Any) -> Start:
    """Return llama.cpp as a runtime."""
    llama_cpp = import_module("llama_cpp")

    def start() -> Step:
        llama.reset()

        def step(ids: Sequence[int]) -> np.ndarray:
            llama.eval(list(ids))
            last = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
            return np.ctypeslib.as_array(last, (llama.n_vocab(),)).copy()

        return step

    return start


def read_back(parcel: Parcel, trial: Trial) -> Check:
    """Read the file and compare every tensor, its layout undone, with PyTorch's; its texts are PyTorch's then."""
    gguf = require("gguf", "gguf")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(file_of(parcel)).tensors}
    gaps = []
    for name, tensor, layout in _tensors(parcel.model):
        entry = found.pop(name, None)
        if entry is None or entry.data.shape != layout.there(tensor).shape:
            gaps.append(float("inf"))
        else:
            read = layout.back(torch.from_numpy(entry.data.astype(np.float32)))
            gaps.append((read - tensor.float().cpu()).abs().max().item())
    gaps += [float("inf")] * len(found)
    # One is added to Gemma's norms and taken away again, which may cost the last bit of a float32.
    same = sum(gap <= 1e-6 for gap in gaps)
    as_trained = trial.alike(trial.expected, trial.as_trained)
    return Check(
        f"gguf {version('gguf')}", "tensors", len(gaps), same, max(gaps), as_trained, asked=len(trial.expected)
    )


GGUF = Target("float16", ("float16", "float32"), 2, ready, write, check)
