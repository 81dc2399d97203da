"""The name in a file, by which llama.cpp decides whether special tokens take the white space behind them.

A file cannot say that of a token. Where a name holds `phi-3`, all special tokens but three do, as Phi-3's; a name that
holds it without having these tokens keeps llama.cpp from loading the file. See src/llama-vocab.cpp.
"""

from typing import Any

KEPT = {"<unk>", "<s>", "<|endoftext|>"}
"""Phi-3's special tokens that leave the white space behind them alone."""
NEEDED = {*KEPT, "</s>"}
TAKEN = ("phi-3", "phi3", "modern-bert")
"""What llama.cpp looks for in a name."""


def name_of(name: str, tokenizer: Any) -> tuple[str | None, tuple[str, ...]]:
    """Return the name to write for `name`, None for none, and what llama.cpp's tokens will not do."""
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
    return plain, (f"llama.cpp keeps the white space beside {shown}, which this tokenizer strips",)
