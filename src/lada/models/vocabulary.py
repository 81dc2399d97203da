"""Checks that a model has an embedding for every token that a text may become.

Many tokenizers have more tokens than their model has embeddings: Gemma 3's text models have none for the special token
of an image. No text becomes such a token, so only tokens that a text may become are checked.
"""

from typing import Any

from lada.core.errors import InputError
from lada.core.plural import counted
from lada.models.encoding import Encoder, special_ids

QUESTION = "?"


def check_vocabulary(encoder: Encoder, rows: int) -> None:
    """Raise InputError if a text or a prompt may become a token id without an embedding in a model with `rows`
    embeddings.

    Special tokens count if prompts and answers contain them: from the chat template, at the beginning and end, as
    padding.
    """
    tokenizer = encoder.tokenizer
    beyond = {index for index in _ids(tokenizer) if index >= rows}
    needed = {*encoder.prompt(QUESTION), *encoder.completion(""), encoder.eos, encoder.pad}
    if lacking := sorted((beyond - special_ids(tokenizer)) | {index for index in needed if index >= rows}):
        count = len(_ids(tokenizer))
        raise InputError(
            f"model: the tokenizer of {tokenizer.name_or_path!r} has {counted(count, 'token')} but the model only "
            f"{counted(rows, 'embedding')}; call model.resize_token_embeddings(len(tokenizer)) and save it again: a "
            "text may become token "
            f"{lacking[0]} ({tokenizer.convert_ids_to_tokens(lacking[0])!r})"
        )


def _ids(tokenizer: Any) -> set[int]:
    return {*tokenizer.get_vocab().values(), *tokenizer.added_tokens_decoder}


def embeddings_of(config: Any) -> int | None:
    """Return how many embeddings a model has according to its configuration; None if it does not say."""
    try:
        return int(config.get_text_config().vocab_size)
    except (AttributeError, TypeError, ValueError):
        return None
