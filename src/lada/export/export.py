"""Exports a party of a run: open, merge, round, write, check and describe in a model card."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lada.core.errors import InputError, nearest
from lada.core.owner import for_owner
from lada.core.paths import exists, is_folder
from lada.export.adapter import PEFT
from lada.export.card import card
from lada.export.check import TOKENS, Check, Tell, Trial, questions_of, silent, torch_start, write_all
from lada.export.gguf import GGUF
from lada.export.gguf_lora import GGUF_LORA
from lada.export.hf import HF
from lada.export.names import NAMES, check_name
from lada.export.onnx import ONNX
from lada.export.party import Trained, configuration, find_party, open_party
from lada.export.target import Parcel, Target
from lada.export.template import with_template
from lada.models.adapters import merged, untie
from lada.models.encoding import Encoder, encoder_of
from lada.models.learner import HuggingFaceLearner
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

TARGETS: dict[str, Target] = dict(zip(NAMES, (HF, PEFT, GGUF, GGUF_LORA, ONNX), strict=True))


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, the outcome of their check, and notes for their user."""

    folder: Path
    check: Check
    notes: tuple[str, ...]


@for_owner()
def export(
    run: Path, party: str, to: str, *, output: Path | None = None, dtype: str | None = None, tell: Tell = silent
) -> Exported:
    """Write a party's model for another runtime and check that it gives the same answers there.

    `to` is a key of TARGETS. `output` is a new or empty folder, by default `RUN/export/PARTY-TARGET`. `dtype` is the
    type of the weights or a quantised format, by default the target's first. `tell` receives the progress. A base that
    was trained in 8 or 4 bits is exported in full precision. Everything is computed on the CPU. Raises InputError
    before anything is written: for a party without weights, a model that the target does not support, weights that the
    dtype cannot hold, or a missing package. An unsupported kind of model or party is refused even before weights are
    read.
    """
    target, dtype = _target(to, dtype)
    options, kept = find_party(run, party)
    if target.adapter and options.tune != "lora":
        whole = {"peft": "hf", "gguf-lora": "gguf"}[to]
        raise InputError(
            f"--to: {to!r} takes an adapter, and {party!r} has none, since it was trained with tune: {options.tune}; "
            f"export it to {whole}"
        )
    if dtype in target.quantised:
        target.quantised[dtype]()
    if (config := configuration(options, kept)) is not None:
        target.known(config)
    folder = output or run / "export" / f"{party}-{to}{f'-{dtype}' if dtype in target.quantised else ''}"
    _check_output(folder)
    tell("weights read", 0, 1)
    trained = open_party(run, party)
    learner = trained.learner(
        device="cpu", dtype="float32", quantise=None, device_map=None, attention=None, gradient_checkpointing=False
    )
    tell("weights read", 1, 1)
    if not target.adapter:
        untie(learner.model)  # the target must see the final type
    target.known(_base(learner.model).config)
    target.ready(learner.model if target.adapter else _base(learner.model), learner.tokenizer)
    trial, parcel = _tried(trained, learner, target, dtype, folder, tell)
    with _whole(folder):
        notes = target.write(parcel)
    check = target.check(parcel, trial)
    (folder / "README.md").write_text(card(trained, parcel, to, check, notes), encoding="utf-8")
    return Exported(folder, check, notes)


def _check_output(folder: Path) -> None:
    """Raise InputError if nothing can be written. It is checked before any weights are read."""
    if is_folder(folder) and any(folder.iterdir()):
        raise InputError(f"--output: {str(folder)!r} is not empty; name another folder, or delete it")
    there = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    if not is_folder(there) or not os.access(there, os.W_OK):
        why = "cannot be written to" if is_folder(there) else "is no folder"
        raise InputError(f"--output: {str(there)!r} {why}; name another folder")


def _tried(
    trained: Trained, learner: HuggingFaceLearner, target: Target, dtype: str, folder: Path, tell: Tell
) -> tuple[Trial, Parcel]:
    """Return the party's answers before and after merging and rounding, and the parcel to write."""
    options, encoder = trained.options, learner.encoder
    questions = questions_of(trained.results)
    prompts = tuple(encoder.prompt(question) for question in questions)
    limit = min(options.max_new_tokens, TOKENS)
    quantise = dtype if dtype in target.quantised else None
    weights = getattr(torch, "float32" if quantise else dtype)

    def answers(model: Any, which: str) -> Any:
        return write_all(torch_start(model), prompts, limit, encoder, which, tell)

    as_trained = expected = answers(learner.model, "the party")
    model = learner.model if target.adapter else _merged(learner)
    _round(model, weights, target)
    if model is not learner.model or weights != torch.float32:  # else the weights have not changed
        expected = answers(model, "PyTorch")
    trial = Trial(questions, prompts, encoder, limit, as_trained, expected, tell)
    encode, source = _encode(options, encoder), locate(options.model)
    parcel = Parcel(
        name=trained.name,
        model=model,
        base=str(Path(source).resolve()) if is_folder(source) else source,
        revision=options.revision,
        tokenizer=with_template(encoder, encode, options.prompt, questions),
        prompt=options.prompt,
        encode=encode,
        dtype=weights,
        quantise=quantise,
        max_new_tokens=options.max_new_tokens,
        context=encoder.context,
        ends=encoder.ends,
        pad=encoder.pad,
        output=folder,
        questions=questions,
        tell=tell,
    )
    return trial, parcel


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Create a folder, and empty it again if it could not be filled."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if not made:
            folder.mkdir()
        raise


def _encode(options: ModelOptions, own: Encoder) -> Callable[[Any], Encoder]:
    """Return a function that makes the party's encoder over another tokenizer."""
    return lambda tokenizer: encoder_of(tokenizer, options, own.context, own.ends)


def _target(to: str, dtype: str | None) -> tuple[Target, str]:
    check_name(to)
    target = TARGETS[to]
    chosen = (dtype or target.dtypes[0]).lower()  # llama.cpp writes Q4_K_M
    choices = (*target.dtypes, *target.quantised)
    if chosen not in choices:
        raise InputError(
            f"--dtype: {dtype!r} is not for {to}; expected one of {', '.join(choices)}{nearest(chosen, choices)}"
        )
    return target, chosen


def _base(model: Any) -> Any:
    """Return the transformers model behind an adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _merged(learner: HuggingFaceLearner) -> Any:
    """Return the learner's model with its adapter, if any, merged into the weights."""
    return merged(learner.model)


@torch.no_grad()
def _round(model: Any, dtype: torch.dtype, target: Target) -> None:
    """Round the weights, which stay float32, to values of `dtype`. Raises InputError if it cannot hold a weight."""
    for name, weight in model.named_parameters():
        if weight.dim() >= target.least_dims and (not target.adapter or "lora_" in name):
            rounded = weight.to(dtype).to(weight.dtype)
            if not rounded.isfinite().all():
                raise InputError(
                    f"--dtype: {str(dtype).removeprefix('torch.')} cannot hold {name}, whose largest value is "
                    f"{weight.abs().max().item():.3g}; choose float32"
                )
            weight.copy_(rounded)
