"""Progress bars of other libraries, which would tear the view of a run."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the progress bars of transformers and huggingface_hub from the screen; restore their setting afterwards."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    loading, downloading = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.disable_progress_bar()  # and those of huggingface_hub
    try:
        yield
    finally:
        if loading:
            logging.enable_progress_bar()
        (enable_progress_bars if downloading else disable_progress_bars)()
