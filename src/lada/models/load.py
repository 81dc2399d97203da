"""Loads a learner from a folder or a hub id, and explains what is missing."""

from pathlib import Path as FilePath
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from lada.core.errors import InputError
from lada.core.paths import is_folder
from lada.models.adapters import with_adapter
from lada.models.checksums import check_weights
from lada.models.compiled import check_compiler
from lada.models.encoding import context_of, encoder_of
from lada.models.frame import check_frame, check_loaded
from lada.models.halving import within_memory
from lada.models.hub import explained, find_on_hub
from lada.models.learner import HuggingFaceLearner
from lada.models.options import ModelOptions
from lada.models.placement import check_placement, pick_device, placement
from lada.models.quiet import no_bars
from lada.models.replicas import Replicas
from lada.models.tekken import TEKKEN, read_tekken
from lada.models.turns import declared_ends
from lada.models.vocabulary import check_vocabulary, embeddings_of


def load(
    folder: str, options: ModelOptions, *, init_seed: int = 0, saved: FilePath | None = None
) -> HuggingFaceLearner:
    """Load model and tokenizer from a folder or a hub id. Raises InputError, naming what is missing.

    `saved` is a folder that `HuggingFaceLearner.save` wrote for a learner of the same `folder` and options. The learner
    is restored bit-for-bit, or InputError names the weights that differ. `init_seed` seeds weights that are drawn here
    (LoRA's A matrices), so that a run is reproducible bit-for-bit.
    """
    source, revision = folder, options.revision
    if saved and options.tune == "full":
        source, revision = str(saved), None
    if saved and (saved / "adapter_config.json").exists() != (options.tune == "lora"):
        raise InputError(
            f"model.tune: {options.tune!r}, but {str(saved)!r} was saved with another tuning; expected the tuning of "
            "that run"
        )
    told = placement(options)
    tokenizer = load_tokenizer(source, revision)
    with within_memory(f"model: {source!r}"):
        model = _load_model(source, revision, told)
        if "device_map" not in told:
            model = model.to(pick_device(options.device))
    ends = declared_ends(model.generation_config, tokenizer)
    encoder = encoder_of(tokenizer, options, context_of(model.config), ends)
    check_vocabulary(encoder, model.get_input_embeddings().weight.shape[0])
    if options.gradient_checkpointing:
        _checkpoint_gradients(model)
    if options.tune == "lora":
        model = with_adapter(model, options, init_seed, saved)
    learner = HuggingFaceLearner(model, tokenizer, options)
    if source == str(saved) and AutoConfig.from_pretrained(source).dtype == torch.float32 != told["dtype"]:
        learner.masters.restore(_load_model(source, None, {**told, "dtype": torch.float32}).parameters())
    if saved:
        check_weights(model, saved)
    if options.parallel is not None:
        learner.replicas = Replicas(folder, options, init_seed)
    return learner


def check(folder: str, options: ModelOptions) -> None:
    """Raise InputError, before anything is trained, if something is missing that can be detected without the
    weights."""
    check_placement(options)
    if options.compile:
        check_compiler(pick_device(options.device))
    tokenizer = load_tokenizer(folder, options.revision)
    with explained(folder, options.revision):
        config = AutoConfig.from_pretrained(folder, revision=options.revision, trust_remote_code=False)
    check_context(config, options)
    check_frame(folder, config, options)
    encoder = encoder_of(tokenizer, options, context_of(config), declared_ends(_generation(folder), tokenizer))
    if rows := embeddings_of(config):
        check_vocabulary(encoder, rows)


def _generation(folder: str) -> GenerationConfig | None:
    """Return a folder's generation settings; None if it has none."""
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        return None


def check_context(config: Any, options: ModelOptions) -> None:
    """Raise InputError if answers may be longer than the context of a model with that configuration.

    The default length is accepted for every model, so it need not be lowered for a tiny one.
    """
    default = ModelOptions.model_fields["max_new_tokens"].default
    if options.max_new_tokens > max(context := context_of(config), default):
        raise InputError(
            f"model.max_new_tokens: {options.max_new_tokens}, but the context of {options.model!r} has {context} "
            "tokens and must hold a question too; expected fewer"
        )


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """Load configuration and tokenizer of a folder or hub id and return the tokenizer. This is cheap, unlike the
    weights.

    Raises InputError, naming what is missing; if the hub cannot be reached, within seconds.
    """
    folder = FilePath(source)
    if not is_folder(folder):
        find_on_hub(source, revision)
    elif revision is not None:
        raise InputError(f"model.revision: {revision!r}, but {source!r} is a folder; expected it for hub ids only")
    elif not _has_tokenizer(folder) and not (folder / TEKKEN).exists():
        raise InputError(
            f"model: folder {source!r} has no tokenizer; expected tokenizer.json or tokenizer_config.json next to "
            "the weights; save it there with tokenizer.save_pretrained(folder)"
        )
    # trust_remote_code False: else transformers would ask interactively whether to run a model's own code.
    with explained(source, revision):
        AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        if is_folder(folder) and not _has_tokenizer(folder):
            return read_tekken(folder)
        # mistral_format False: else a tekken.json next to the tokenizer gives a tokenizer without most methods used
        # here.
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False, mistral_format=False)


@no_bars()
def _load_model(source: str, revision: str | None, told: dict[str, Any]) -> Any:
    """Load all weights."""
    with explained(source, revision):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,  # pickled weights may contain programs
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **told,
        )
    model, info = loaded
    check_loaded(source, type(model), info)
    if any(weight.is_meta for weight in model.parameters()):
        raise InputError(
            f"model.device_map: {told.get('device_map')!r} leaves layers of {source!r} without a device, since it does "
            "not fit; use more or larger devices, dtype: bfloat16, or quantise"
        )
    return model


def _checkpoint_gradients(model: Any) -> None:
    if not model.supports_gradient_checkpointing:
        raise InputError(
            f"model.gradient_checkpointing: true, but {type(model).__name__} does not support it; expected false, "
            "with a smaller micro_batch_size"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})


def _has_tokenizer(folder: FilePath) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))
