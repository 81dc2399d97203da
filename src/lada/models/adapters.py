"""LoRA adapters over any causal LM (arXiv 2106.09685)."""

from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lada.core.errors import InputError
from lada.models.options import ModelOptions


def with_adapter(model: Any, options: ModelOptions, init_seed: int, saved: FilePath | None) -> Any:
    """Return the model with a saved adapter, or with a new one that changes nothing yet.

    Without `targets` all linear layers are adapted, also GPT-2's `Conv1D`, but not the one that gives the logits.
    Raises InputError where there are no such layers.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if options.quantise is not None:
        # Checkpointing as LaDa switches it on needs nothing of what peft would do for it here.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if saved:
        return PeftModel.from_pretrained(model, saved, is_trainable=True)
    lora = options.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else "all-linear",
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in model.modules()),
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


def untie(model: Any) -> None:
    """Give each adapted layer of a model a weight of its own, where it shares one: merging would change the other too.

    That is so where embeddings and the layer of the logits are one weight and either has an adapter.
    """
    adapted = [module.base_layer for module in model.modules() if hasattr(module, "base_layer")]
    for layer in adapted:
        shared = [other for other in model.modules() if getattr(other, "weight", None) is layer.weight]
        # An adapter's wrapping shows the weight of the layer within as its own.
        if any(other is not layer and getattr(other, "base_layer", None) is not layer for other in shared):
            layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
            for config in (model.config, model.config.get_text_config()):
                config.tie_word_embeddings = False


def merged(model: Any) -> Any:
    """Return a model with its adapter, if it has one, added to the weights; the model that is given is used up."""
    if not hasattr(model, "merge_and_unload"):
        return model
    untie(model)
    return model.merge_and_unload()
