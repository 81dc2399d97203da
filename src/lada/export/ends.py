"""The ids that end an answer, for runtimes that know several of them."""

from typing import Any

from lada.models.encoding import Encoder


def ends_of(model: Any, encoder: Encoder) -> tuple[int, ...]:
    """Return the end-of-sequence that the party was taught, then the other ids that its base ends a turn with.

    Those are what `generation_config.json` says. Where the base has none, transformers takes what stands in
    `config.json`, which is often no more than a default: of that, special tokens alone are believed.
    """
    settings = model.generation_config
    given = settings.eos_token_id
    ids = given if isinstance(given, list) else [] if given is None else [given]
    if getattr(settings, "_from_model_config", False):
        ids = [index for index in ids if index in special_ids(encoder.tokenizer)]
    rows = model.get_input_embeddings().weight.shape[0]
    return tuple(dict.fromkeys([encoder.eos, *(index for index in ids if 0 <= index < rows)]))


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids that no text of a learner yields."""
    added = tokenizer.added_tokens_decoder
    return {*tokenizer.all_special_ids, *(index for index, token in added.items() if token.special)}
