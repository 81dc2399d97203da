"""From grids and labels to tokens: a prompt has a token for each cell, and an answer is one token, its label."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from lada.core.errors import InputError
from lada.core.grids import read_grids
from lada.core.terms import TokenizedText, Vocabulary
from lada.models.encoding import Encoded

Shape = tuple[int, int]
MARK = "answer "
"""What may stand in front of a label, as in the gold texts of samples without a rationale."""


def read_label(text: str) -> str | None:
    """Return the label that a text consists of, with or without `answer` in front; None for an empty text."""
    return text.strip().removeprefix(MARK).strip() or None


class LabelEncoder:
    """Turns questions into the levels of the grids that a network reads, and texts into labels.

    A label ends an answer, so no other token does.
    """

    pad = 0

    def __init__(self, labels: Sequence[str], reads: Mapping[str, Shape]) -> None:
        self.labels = tuple(labels)
        self.reads = dict(reads)
        self.ends = tuple(range(len(self.labels)))
        self._ids = {label: index for index, label in enumerate(self.labels)}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The labels."""
        return Vocabulary(tuple(label.encode() for label in self.labels), None)

    def prompt(self, question: str) -> tuple[int, ...]:
        """Return the levels of all cells, grid by grid and row by row. Raises InputError for a question without them.

        Grids that the network does not read are passed over.
        """
        grids = read_grids(question)
        levels: list[int] = []
        for name, shape in self.reads.items():
            if name not in grids or grids[name].shape != tuple(shape):
                found = ", ".join(f"{other} {grid.shape[0]}x{grid.shape[1]}" for other, grid in grids.items())
                raise InputError(
                    f"question: it has the grids {found}, but the model reads {name} {shape[0]}x{shape[1]}; set "
                    "model.options.reads, or ask for this grid in the task"
                )
            levels += grids[name].ravel().tolist()
        return tuple(levels)

    def completion(self, text: str) -> tuple[int, ...]:
        """Return a label's token; nothing for a text that is none of the labels."""
        label = read_label(text)
        return (self._ids[label],) if label in self._ids else ()

    def pair(self, question: str, text: str, *, cut: bool = False) -> Encoded:
        """Return question and label as tokens. A label is whole even if it was `cut`."""
        return Encoded(self.prompt(question), self.completion(text))

    def covered(self, row: Encoded, text: str) -> int:
        """Return how many bytes of a label its row holds: all."""
        return len(text.encode())

    def tokenize(self, text: str) -> TokenizedText | None:
        """Return a label as its one token; None for a text that is none of the labels."""
        tokens = self.completion(text)
        if not tokens:
            return None
        label = self.labels[tokens[0]]
        start = len(text[: text.rindex(label)].encode())
        offsets = np.array([[start, start + len(label.encode())]], np.int32)
        return TokenizedText(np.array(tokens, np.int32), offsets)
