"""Take a party out of a run: open, merge, round, write, check, and say so in a model card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lada.core.errors import InputError, nearest
from lada.core.owner import for_owner
from lada.export.card import card
from lada.export.check import TOKENS, Check, Trial, questions_of, torch_start, write_all
from lada.export.gguf import GGUF
from lada.export.hf import HF
from lada.export.onnx import ONNX
from lada.export.party import open_party
from lada.export.target import Parcel, Target
from lada.export.template import with_template
from lada.models.adapters import merged, untie
from lada.models.encoding import Encoder
from lada.models.options import ModelOptions

TARGETS: dict[str, Target] = {"hf": HF, "gguf": GGUF, "onnx": ONNX}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, how it did, and what its user should know."""

    folder: Path
    check: Check
    notes: tuple[str, ...]


@for_owner()
def export(run: Path, party: str, to: str, *, output: Path | None = None, dtype: str | None = None) -> Exported:
    """Write a party's model for another runtime and check that it answers there as it does here.

    `to` is a key of TARGETS. `output` is a new or empty folder, by default `RUN/export/PARTY-TARGET`. `dtype` is that
    of the weights, by default the target's. A base that was trained in 8 or 4 bits is taken in full precision. All is
    computed on the CPU. Raises InputError, before anything is written, for a party without weights, a model that the
    target does not have, weights that the dtype cannot hold, or a package that is missing.
    """
    target, dtype = _target(to, dtype)
    trained = open_party(run, party)
    folder = output or run / "export" / f"{party}-{to}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--output: {str(folder)!r} is not empty; name another folder, or delete it")
    learner = trained.learner(
        device="cpu", dtype="float32", quantise=None, device_map=None, attention=None, gradient_checkpointing=False
    )
    untie(learner.model)  # what it is then, a target has to know
    target.ready(_base(learner.model), learner.tokenizer)
    questions = questions_of(trained.results)
    encoder, limit = learner.encoder, min(trained.options.max_new_tokens, TOKENS)
    prompts = tuple(encoder.prompt(question) for question in questions)
    as_trained = write_all(torch_start(learner.model), prompts, limit, encoder)
    model = merged(learner.model)
    _round(model, getattr(torch, dtype), target)
    trial = Trial(
        questions, prompts, encoder, limit, as_trained, write_all(torch_start(model), prompts, limit, encoder)
    )
    encode = _encode(trained.options, encoder)
    parcel = Parcel(
        name=party,
        model=model,
        tokenizer=with_template(encoder, encode, trained.options.prompt, questions),
        prompt=trained.options.prompt,
        encode=encode,
        dtype=getattr(torch, dtype),
        max_new_tokens=trained.options.max_new_tokens,
        context=encoder.context,
        eos=encoder.eos,
        pad=encoder.pad,
        output=folder,
        questions=questions,
    )
    folder.mkdir(parents=True, exist_ok=True)
    notes = target.write(parcel)
    check = target.check(parcel, trial)
    (folder / "README.md").write_text(card(trained, parcel, to, check, notes), encoding="utf-8")
    return Exported(folder, check, notes)


def _encode(options: ModelOptions, own: Encoder) -> Callable[[Any], Encoder]:
    """Return what makes the party's encoder over another tokenizer."""
    return lambda tokenizer: Encoder(
        tokenizer, prompt=options.prompt, context=own.context, system=options.system, think=options.think
    )


def _target(to: str, dtype: str | None) -> tuple[Target, str]:
    if to not in TARGETS:
        raise InputError(f"--to: {to!r} is not a target; expected one of {', '.join(TARGETS)}{nearest(to, TARGETS)}")
    target = TARGETS[to]
    dtype = dtype or target.default
    if dtype not in target.dtypes:
        raise InputError(
            f"--dtype: {dtype!r} is not for {to}; expected one of {', '.join(target.dtypes)}"
            f"{nearest(dtype, target.dtypes)}"
        )
    return target, dtype


def _base(model: Any) -> Any:
    """Return the model of transformers behind an adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def _round(model: Any, dtype: torch.dtype, target: Target) -> None:
    """Round the weights, which stay float32, to what `dtype` can hold. Raises InputError for one that it cannot."""
    for name, weight in model.named_parameters():
        if weight.dim() >= target.least_dims:
            rounded = weight.to(dtype).to(weight.dtype)
            if not rounded.isfinite().all():
                raise InputError(
                    f"--dtype: {str(dtype).removeprefix('torch.')} cannot hold {name}, whose largest value is "
                    f"{weight.abs().max().item():.3g}; choose float32"
                )
            weight.copy_(rounded)
