"""llama.cpp as a runtime, to try exported files in."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lada.core.distribution import install_command
from lada.export.check import Start, Step, Trial
from lada.export.target import Parcel

NOT_RUN = f"llama.cpp itself was not run; to run it, install it with {install_command('llama-cpp')} and export again"


@contextmanager
def running(file: Path, trial: Trial, adapter: Path | None = None) -> Iterator[tuple[Start, Any, str]]:
    """Load a file, optionally with an adapter; yield it as a runtime, with its Llama object and its name."""
    llama_cpp = import_module("llama_cpp")
    longest = max(map(len, trial.prompts)) + trial.limit
    llama = llama_cpp.Llama(
        str(file),
        n_ctx=min(longest, trial.encoder.context),
        n_threads=torch.get_num_threads(),
        n_threads_batch=torch.get_num_threads(),
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        # Use the YaRN settings of the file, as llama.cpp's own programs do; llama-cpp-python has other defaults.
        yarn_attn_factor=-1.0,
        yarn_beta_fast=-1.0,
        yarn_beta_slow=-1.0,
        swa_full=False,
        lora_path=None if adapter is None else str(adapter),
        verbose=False,
    )
    with closing(llama):
        yield _start(llama), llama, f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"


def tokenised(llama: Any, parcel: Parcel, trial: Trial) -> int:
    """Return how many questions llama.cpp turns into the party's token ids, with the template in the file."""
    encoder = parcel.encode(parcel.tokenizer)
    same = 0
    for question in trial.questions:
        text, chat = encoder.text_before(question)
        same += llama.tokenize(text.encode(), add_bos=not chat, special=True) == list(encoder.whole(question))
    return same


def _start(llama: Any) -> Start:
    """Return llama.cpp as a runtime."""
    llama_cpp = import_module("llama_cpp")

    def start() -> Step:
        llama.reset()

        def step(ids: Sequence[int]) -> np.ndarray:
            llama.eval(list(ids))
            last = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
            return np.ctypeslib.as_array(last, (llama.n_vocab(),)).copy()

        return step

    return start
