"""Target `hf`: a folder that AutoModelForCausalLM and AutoTokenizer load, without peft and without LaDa."""

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from lada.export.check import Check, Trial, compare, torch_start
from lada.export.target import Parcel, Target, any_kind
from lada.export.template import notes_on_prompts


def ready(model: Any, tokenizer: Any) -> None:
    """Take any model and tokenizer."""


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write weights, tokenizer and generation settings."""
    parcel.tell("files written", 0, 1)
    parcel.model.to(parcel.dtype).save_pretrained(parcel.output)
    notes = save_settings(parcel)
    parcel.tell("files written", 1, 1)
    return notes


def save_settings(parcel: Parcel) -> tuple[str, ...]:
    """Write the tokenizer, and generation_config.json: greedy, as the run evaluates; say where prompts need care."""
    parcel.tokenizer.save_pretrained(parcel.output)
    GenerationConfig(
        max_new_tokens=parcel.max_new_tokens,
        do_sample=False,
        eos_token_id=parcel.ends[0] if len(parcel.ends) == 1 else list(parcel.ends),
        pad_token_id=parcel.pad,
        bos_token_id=parcel.tokenizer.bos_token_id,
    ).save_pretrained(parcel.output)
    return notes_on_prompts(parcel.encode(parcel.tokenizer), parcel.prompt)


def check(parcel: Parcel, trial: Trial) -> Check:
    """Load the folder anew, in float32, and run the trial."""
    model = AutoModelForCausalLM.from_pretrained(parcel.output, dtype=torch.float32, use_safetensors=True)
    model.eval()
    runtime = f"transformers {transformers.__version__}, loaded again"
    return compare(trial, torch_start(model), runtime, tokenised(parcel, trial))


def tokenised(parcel: Parcel, trial: Trial) -> int:
    """Return of how many questions the saved tokenizer makes the party's own ids."""
    encoder = parcel.encode(AutoTokenizer.from_pretrained(parcel.output))
    return sum(encoder.prompt(q) == ids for q, ids in zip(trial.questions, trial.prompts, strict=True))


HF = Target(("float32", "float16", "bfloat16"), any_kind, ready, write, check)
