"""Target `peft`: the adapter alone, a folder that peft and transformers lay over the party's base."""

import torch
from transformers import AutoModelForCausalLM

from lada.export.check import Check, Trial, compare, torch_start
from lada.export.hf import ready, save_settings, tokenised
from lada.export.target import Parcel, Target, any_kind


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write the adapter with the name of its base, the tokenizer and generation settings."""
    parcel.tell("files written", 0, 1)
    model = parcel.model
    settings = model.peft_config["default"]
    settings.base_model_name_or_path, settings.revision, settings.inference_mode = parcel.base, parcel.revision, True
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.to(parcel.dtype)
    model.save_pretrained(parcel.output, save_embedding_layers=False)  # "auto" may ask the hub about them
    notes = save_settings(parcel)
    parcel.tell("files written", 1, 1)
    return (*notes, f"the adapter needs its base, {parcel.base!r}")


def check(parcel: Parcel, trial: Trial) -> Check:
    """Load the base and the adapter anew, in float32, and run the trial."""
    import peft

    base = AutoModelForCausalLM.from_pretrained(
        parcel.base, revision=parcel.revision, dtype=torch.float32, use_safetensors=True
    )
    model = peft.PeftModel.from_pretrained(base, str(parcel.output))
    model.eval()
    runtime = f"peft {peft.__version__} over the base, loaded again"
    return compare(trial, torch_start(model), runtime, tokenised(parcel, trial))


PEFT = Target(("float32", "float16", "bfloat16"), any_kind, ready, write, check, adapter=True)
