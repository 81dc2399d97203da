"""The model's name in a GGUF file, from which llama.cpp decides whether special tokens strip the white space after
them.

A file cannot state this for a single token. If the name contains `phi-3`, all special tokens except three strip it, as
in Phi-3. If the name contains it but the vocabulary lacks these tokens, llama.cpp does not load the file. See
src/llama-vocab.cpp.
"""

from typing import Any

KEPT = {"<unk>", "<s>", "<|endoftext|>"}
"""Phi-3's special tokens that keep the white space after them."""
NEEDED = {*KEPT, "</s>"}
TAKEN = ("phi-3", "phi3", "modern-bert")
"""The text that llama.cpp looks for in a name."""


def name_of(name: str, tokenizer: Any) -> tuple[str | None, tuple[str, ...]]:
    """Return the name to write for `name` (None: no name), and notes on what llama.cpp's tokens will not do."""
    added = tokenizer.added_tokens_decoder.values()
    right = {token.content for token in added if token.rstrip}
    left = {token.content for token in added if token.lstrip}
    every = {token.content for token in added}
    plain = None if any(part in name.lower() for part in TAKEN) else name
    if not right | left:
        return plain, ()
    if not left and right == every - KEPT and every >= NEEDED:
        return f"{name} (phi-3)", ()
    shown = ", ".join(sorted(right | left)[:3])
    return plain, (f"llama.cpp keeps the white space next to {shown}, which this tokenizer strips",)
