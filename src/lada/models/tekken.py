"""Reads tokenizers in Mistral's format, `tekken.json`, from folders that have no other."""

from pathlib import Path
from typing import Any

from lada.core.errors import InputError
from lada.core.hub import reason

TEKKEN = "tekken.json"
FIX = "call `pip install -U transformers 'mistral-common>=1.12'`, or put tokenizer.json and chat_template.jinja there"


def read_tekken(folder: Path) -> Any:
    """Return the tokenizer of a folder's `tekken.json` in transformers' form, with its chat template.

    The template is the one next to it, else mistral-common's. Raises InputError if transformers or mistral-common
    cannot provide them: without its template, a chat model would be prompted in a way that it never saw.
    """
    try:
        from transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer

        tokenizer = convert_tekken_tokenizer(str(folder / TEKKEN))
    except (ImportError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"model: cannot read {TEKKEN} of {str(folder)!r}: {reason(error)}; {FIX}") from error
    if tokenizer.chat_template is None:
        raise InputError(f"model: {str(folder)!r} has {TEKKEN} and no chat template for it; {FIX}")
    return tokenizer
