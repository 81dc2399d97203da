"""Thinking in tags before an answer, as reasoning models write it."""

from collections.abc import Mapping

TAGS: Mapping[str, str] = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "◁think▷": "◁/think▷",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
"""Opening and closing tags that mark thinking wherever a path is read."""


def conclusion(text: str, tags: Mapping[str, str] = TAGS) -> str:
    """Return what follows the last closing tag, or the whole text if there is no tag.

    Unclosed thinking has no conclusion: the result is then "".
    """
    end = max((place + len(close) for close in tags.values() if (place := text.rfind(close)) >= 0), default=0)
    rest = text[end:]
    return "" if any(tag in rest for tag in tags) else rest
