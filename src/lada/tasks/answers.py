"""Find the answer in a reasoning path and say whether it is the gold one."""

import re


def extract_answer(text: str) -> str | None:
    m = re.search(r"answer (\S+)\s*$", text)
    return m[1] if m else None


def same_answer(answer: str | None, gold: str) -> bool:
    return answer == gold
