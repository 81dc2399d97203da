"""Questions that a model writes: how it is asked for them, how they are read, and which of them are refused."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from lada.core.terms import Sample
from lada.core.words import HIDDEN

PREFIX = "generated-"
"""The ids of generated samples begin so, and no others may."""
MARK, ANSWER = "Question:", "Answer:"
_BLOCK = re.compile(rf"^[ \t]*{MARK}", re.MULTILINE)
_END = re.compile(rf"^[ \t]*{ANSWER}|\n[ \t]*\n", re.MULTILINE)
_ROLE = re.compile(
    r"<\|[^|>\n]{0,64}\|>|</?(?:s|bos|eos|pad|think|system|user|assistant|tool|function)\b[^>\n]{0,32}>|\[/?(?:INST|THINK)\]"
    r"|<</?SYS>>|<(?:start|end)_of_turn>|^[ \t]*(?:system|assistant|developer|user|human)[ \t]*:"
    r"|^[ \t]*#{2,}[ \t]*(?:system|instruction|response|assistant)",
    re.IGNORECASE | re.MULTILINE,
)
"""What separates turns or names roles in the templates of common models."""
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:above|previous|prior|earlier|all|your)\b.{0,40}"
    r"\b(?:instruction|prompt|rule|message|context|direction)s?\b|\b(?:system|developer) (?:prompt|message)\b"
    r"|\byou are (?:now )?(?:an? |the )?(?:ai|assistant|language model|chatbot)\b"
    r"|\b(?:reveal|repeat|print|output|recite)\b.{0,40}\b(?:prompt|instructions|training data|verbatim|private)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Orders to the model that reads a question, as in known prompt injections."""


CONTROL = frozenset({"Cc", "Cf", "Co", "Cs"})
"""Unicode categories of invisible characters."""
ENDS = ".?!\u3002\u061f"
"""What ends a sentence, also in Chinese and Arabic."""


def prompt(instruction: str, sections: Sequence[tuple[str, Sequence[Sample]]], count: int) -> str:
    """Return a prompt for `count` new questions in the style of samples, which are shown with their answers if known.

    A section has a heading, which may be empty, and samples. Without an instruction the prompt is a bare continuation:
    the questions line by line, for a model that follows no instructions.
    """
    if not instruction:
        return "\n".join(sample.question for _, samples in sections for sample in samples)
    parts = [instruction.replace("{count}", str(count))]
    for heading, samples in sections:
        parts += [heading] if heading else []
        for sample in samples:
            known = f"\n{ANSWER} {sample.answer}" if sample.answer is not None else ""
            parts.append(f"{MARK} {sample.question}{known}")
    return "\n\n".join([*parts, MARK])


def read(text: str, most: int) -> list[str]:
    """Return the first `most` questions of a reply: what follows each mark, up to an answer or an empty line.

    Text before the first mark counts as a question too, since a reply continues a prompt that ends in a mark.
    """
    blocks = [_END.split(block.strip(), maxsplit=1)[0].strip() for block in _BLOCK.split(text)]
    return [block for place, block in enumerate(blocks) if block or place][:most] or [""]


def fault(question: str, most: int) -> str | None:
    """Return why no party should be asked this question; None if nothing is wrong with it.

    `most` is the maximum number of characters. The patterns cover known injections; they cannot cover all.
    """
    checks = (
        ("empty", not any(map(str.isalnum, question))),
        ("too long", len(question) > most),
        ("control characters", any(unicodedata.category(each) in CONTROL for each in question if each not in "\n\t")),
        ("role markers", _ROLE.search(question[:most])),
        ("orders to a model", _ORDER.search(question[:most])),
        ("several questions", _BLOCK.search(question)),
        ("data, not a question", question.startswith("```") or _is_data(question[: most + 1])),
    )
    return next((why for why, found in checks if found), None)


def _is_data(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def scripts(texts: Iterable[str]) -> frozenset[str]:
    """Return the scripts in which texts are written, such as LATIN or CJK."""
    return frozenset(filter(None, map(_script, set[str]().union(*texts))))


def foreign(question: str, known: frozenset[str]) -> bool:
    """Return whether most letters of a question are of scripts that are not `known`.

    That finds another language only if it is written in another script.
    """
    letters = [found for each in question if (found := _script(each))]
    return 2 * sum(each not in known for each in letters) > len(letters)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Return the script of a letter, the first word of its name in Unicode; nothing for other characters."""
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""


def normal(question: str) -> str:
    """Return what two questions have in common that differ only in case, width, spaces, unseen characters or the final
    punctuation."""
    text = question.translate(HIDDEN)
    for _ in range(2):  # a folded letter may have a compatibility form again, and a mark meets a letter
        folded = unicodedata.normalize("NFKC", text).casefold()
        text = "".join(each for each in folded if not (each.isspace() or unicodedata.category(each) in CONTROL))
    return text.rstrip(ENDS)


def normals(samples: Iterable[Sample]) -> frozenset[str]:
    """Return the normal forms of the questions of samples."""
    return frozenset(normal(sample.question) for sample in samples)
