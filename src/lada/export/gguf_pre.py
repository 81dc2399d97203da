"""Finds, by comparison, the llama.cpp pre-tokeniser that splits texts as a byte-level BPE tokenizer does.

A GGUF file names its pre-tokeniser. The expressions below come from llama.cpp's src/llama-vocab.cpp
(https://github.com/ggml-org/llama.cpp, as of llama-cpp-python 0.3.36).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
SHORT = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
REST = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+SHORT"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*SHORT"
    r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Pre:
    """A pre-tokeniser: its expressions, applied in order, and whether it looks whole words up in the vocabulary before
    merging."""

    name: str
    expressions: tuple[str, ...]
    ignores_merges: bool = False

    def cut(self, text: str) -> list[str]:
        """Return the pieces of a text, in the byte-level alphabet."""
        splits = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in self.expressions]
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return [piece for piece, _ in pre_tokenizers.Sequence([*splits, whole]).pre_tokenize_str(text)]


ONE, THREE = r"\p{N}", r"\p{N}{1,3}"
PRES = (
    Pre("gpt-2", (GPT2,)),
    Pre("llama-bpe", (REST.replace("DIGITS", THREE),), ignores_merges=True),
    Pre("smaug-bpe", (REST.replace("DIGITS", THREE),)),
    Pre("qwen2", (REST.replace("DIGITS", ONE),)),
    Pre("smollm", (ONE, GPT2)),
    Pre("bloom", (r" ?[^(\s|.,!?…。，、।۔،)]+",)),
    Pre("tekken", (LETTERS.replace("SHORT", "").replace("DIGITS", ONE),), ignores_merges=True),
    Pre("gpt-4o", (LETTERS.replace("SHORT", f"{SHORT}?").replace("DIGITS", THREE),)),
)
PROBES = (
    "Hello World's dog DON'T they'll I'M 1234567 12 3.50",
    "a) pallet : 7 + 4 = 11 . b) (c) [d]|e, f; 6/2!? ...",
    "  two  spaces\tand\ttabs \n\n new\r\n lines \n",
    "naïve café Ünder ÀÉ camelCase HTTPServer x2y3 _under_score",
    "日本語、テスト。 русский ٣٤٥ ½ Ⅷ 😀👍🏽 --- !!\n\n??\n/",
    " leading",
    "trailing   ",
)
"""Texts on which pre-tokenisers differ."""


def pre_tokeniser(backend: Any, texts: Sequence[str]) -> str | None:
    """Return the name of the pre-tokeniser that splits PROBES and `texts` as `backend` does; None if none does.

    `backend` is a byte-level BPE tokenizer of the library `tokenizers`.
    """
    texts = (*PROBES, *texts)
    wanted = [_pieces(backend, text) for text in texts]
    ignores = bool(json.loads(backend.to_str())["model"].get("ignore_merges"))
    for pre in PRES:
        if pre.ignores_merges == ignores and [pre.cut(text) for text in texts] == wanted:
            return pre.name
    return None


def needs_no_cut(backend: Any, texts: Iterable[str]) -> bool:
    """Return whether a byte-level BPE gives the same ids if it splits texts only around newlines.

    This holds if no merge of the vocabulary crosses a split.
    """
    uncut = Tokenizer.from_str(backend.to_str())
    uncut.normalizer = None  # pyright: ignore[reportAttributeAccessIssue] - it can be unset, says its documentation
    uncut.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex(r"\n+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return all(
        uncut.encode(text, add_special_tokens=False).ids == backend.encode(text, add_special_tokens=False).ids
        for text in (*PROBES, *texts)
    )


def _pieces(backend: Any, text: str) -> list[str]:
    text = backend.normalizer.normalize_str(text) if backend.normalizer else text
    return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
