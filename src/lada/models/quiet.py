"""Progress bars of other libraries, which would tear the view of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hidden_bars(utils: Any) -> Iterator[None]:
    """Keep a library's progress bars from the screen; restore their setting afterwards.

    `utils` is its module with `disable_progress_bars` and the like, as huggingface_hub and datasets have it.
    """
    hidden = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        (utils.disable_progress_bars if hidden else utils.enable_progress_bars)()


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the progress bars of transformers and huggingface_hub from the screen; restore their setting afterwards."""
    from huggingface_hub import utils
    from transformers.utils import logging

    with hidden_bars(utils):  # which transformers switches with its own
        loading = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if loading:
                logging.enable_progress_bar()
