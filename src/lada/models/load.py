"""From a folder or a hub id to a learner, with an explanation of whatever is missing."""

import json
from pathlib import Path as FilePath
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.models.adapters import with_adapter
from lada.models.encoding import Encoder
from lada.models.halving import within_memory
from lada.models.hub import EXPECTED, explained, find_on_hub
from lada.models.learner import HuggingFaceLearner, context_of
from lada.models.options import ModelOptions
from lada.models.placement import check_placement, pick_device, placement
from lada.models.vocabulary import check_vocabulary, embeddings_of

WEIGHTS = "model.safetensors"


def load(
    folder: str, options: ModelOptions, *, init_seed: int = 0, saved: FilePath | None = None
) -> HuggingFaceLearner:
    """Load model and tokenizer from a folder or a hub id; InputError names what is missing.

    `saved` is a folder that `HuggingFaceLearner.save` wrote for a learner of the same `folder` and options: the
    learner is brought back to the same bits. `init_seed` seeds weights that are drawn here (LoRA's A matrices), so
    that a run repeats to the bit.
    """
    source, revision = folder, options.revision
    if saved and options.tune == "full":
        source, revision = str(saved), None
    if saved and (saved / "adapter_config.json").exists() != (options.tune == "lora"):
        raise InputError(
            f"model.tune: {options.tune!r}, but {str(saved)!r} was not saved so; expected the tuning of that run"
        )
    told = placement(options)
    tokenizer = load_tokenizer(source, revision)
    with within_memory(f"model: {source!r}"):
        model = _load_model(source, revision, told)
        if "device_map" not in told:
            model = model.to(pick_device(options.device))
    check_vocabulary(_encoder(tokenizer, options, model.config), model.get_input_embeddings().weight.shape[0])
    if options.gradient_checkpointing:
        _checkpoint_gradients(model)
    if options.tune == "lora":
        model = with_adapter(model, options, init_seed, saved)
    return HuggingFaceLearner(model, tokenizer, options)


def check(folder: str, options: ModelOptions) -> None:
    """Raise InputError where something is missing that can be told without the weights, before anything is trained."""
    check_placement(options)
    tokenizer = load_tokenizer(folder, options.revision)
    with explained(folder, options.revision):
        config = AutoConfig.from_pretrained(folder, revision=options.revision, trust_remote_code=False)
    encoder = _encoder(tokenizer, options, config)
    if rows := embeddings_of(config):
        check_vocabulary(encoder, rows)


def _encoder(tokenizer: Any, options: ModelOptions, config: Any) -> Encoder:
    return Encoder(
        tokenizer, prompt=options.prompt, context=context_of(config), system=options.system, think=options.think
    )


def check_weights(source: str) -> None:
    """Raise InputError where a file of a folder's weights is missing or was cut short; it reads their headers alone.

    Of weights on the hub nothing is said.
    """
    folder = FilePath(source)
    if not folder.is_dir():
        return
    index = folder / "model.safetensors.index.json"
    try:
        parts = sorted(set(json.loads(index.read_bytes())["weight_map"].values())) if index.exists() else [WEIGHTS]
        if not index.exists() and (folder / "adapter_config.json").exists():
            return  # the weights are those of the model that the adapter is for
        for part in parts:
            with safe_open(str(folder / part), framework="pt"):
                pass
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"model: cannot load {source!r}: {reason(error)}; {EXPECTED}") from error


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """Load configuration and tokenizer of a folder or hub id and return the tokenizer; cheap, unlike the weights.

    Raises InputError, naming what is missing; for a hub that cannot be reached, within seconds.
    """
    folder = FilePath(source)
    if not folder.is_dir():
        find_on_hub(source, revision)
    elif revision is not None:
        raise InputError(f"model.revision: {revision!r}, but {source!r} is a folder; expected it for hub ids only")
    elif not _has_tokenizer(folder):
        raise InputError(
            f"model: folder {source!r} has no tokenizer; expected tokenizer.json or tokenizer_config.json beside "
            "the weights; save it there with tokenizer.save_pretrained(folder)"
        )
    # trust_remote_code False: else transformers would ask at the keyboard whether to run a model's own code.
    with explained(source, revision):
        AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


def _load_model(source: str, revision: str | None, told: dict[str, Any]) -> Any:
    """Load the weights, all of them."""
    with explained(source, revision):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,  # weights in pickles may be programs
            output_loading_info=True,
            **told,
        )
    model, info = loaded
    if info["missing_keys"]:  # transformers would draw these at random and go on
        raise InputError(
            f"model: {source!r} lacks the weights {', '.join(sorted(info['missing_keys'])[:3])}; expected those of a "
            f"whole {type(model).__name__}"
        )
    if any(weight.is_meta for weight in model.parameters()):
        raise InputError(
            f"model.device_map: {told.get('device_map')!r} leaves layers of {source!r} without a device, since it does "
            "not fit; use more or larger devices, dtype: bfloat16, or quantise"
        )
    return model


def _checkpoint_gradients(model: Any) -> None:
    if not model.supports_gradient_checkpointing:
        raise InputError(
            f"model.gradient_checkpointing: true, but {type(model).__name__} does not have it; expected false, with a "
            "smaller micro_batch_size"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})


def _has_tokenizer(folder: FilePath) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))
