"""Hides progress bars of other libraries, which would disturb the view of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hidden_bars(utils: Any) -> Iterator[None]:
    """Hide a library's progress bars; restore their setting afterwards.

    `utils` is its module with `disable_progress_bars` and similar functions, as in huggingface_hub and datasets.
    """
    hidden = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        (utils.disable_progress_bars if hidden else utils.enable_progress_bars)()


@contextmanager
def no_bars() -> Iterator[None]:
    """Hide the progress bars of transformers and huggingface_hub; restore their setting afterwards."""
    from huggingface_hub import utils
    from transformers.utils import logging

    with hidden_bars(utils):  # which transformers switches together with its own
        loading = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if loading:
                logging.enable_progress_bar()
