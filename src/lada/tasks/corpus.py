"""A corpus as data: one YAML file describes where its rows come from and how each becomes a sample.

Shipped files are in `corpora/`. Your own may be anywhere.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from lada.core.errors import InputError, nearest
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.choices import LETTERS
from lada.tasks.turns import conversation

MESSAGES = "{messages}"
"""The question of a corpus of conversations."""
ALL = "all"
"""The domain of samples without one."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


def _captures(pattern: str) -> str:
    if re.compile(_compiles(pattern)).groups != 1:
        raise ValueError(f"{pattern!r} does not have exactly one group; put the wanted part in one pair of parentheses")
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class Reading(Options):
    """How to read a text from a row: from a column, with optional processing. A column name alone is enough."""

    column: str
    """The column. A dot leads into a column that holds a mapping: `choices.text`."""
    pattern: Annotated[str, AfterValidator(_captures)] | None = None
    """A regular expression to search for. Its only group is the text."""
    remove: Pattern | None = None
    """A regular expression whose matches are deleted."""
    map: dict[str, str] = Field(default_factory=dict)
    """What values mean, such as `{"0": "no", "1": "yes"}`. Other values are then refused."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class Choices(Options):
    """Where a row holds the choices of its question."""

    texts: str
    """A column with a list of texts, or a mapping from labels to texts. Choices without text are dropped."""
    labels: str | None = None
    """A column with the labels of the list, in the same order. None means A, B, C …"""
    remove: Pattern | None = None
    """A regular expression whose matches are deleted from each text, such as a leading label."""


class Splits(Options):
    """Which splits to use for training and testing. A split with secret answers is useless."""

    train: str = "train"
    """The split for private and public questions."""
    test: str | None = None
    """The split for test questions. None holds out part of the training split."""


class Corpus(Options):
    """One corpus. In the question, `{column}` stands for that column's value and `{choices}` for all choices."""

    title: str
    """Its name for display."""
    hub: str
    """Its id on the Hugging Face Hub."""
    configuration: str | None = None
    """The name of its configuration (subset) on the hub."""
    revision: str | None = None
    """A commit, branch or tag on the hub."""
    splits: Splits = Splits()
    """Where training and test questions come from."""
    keep: dict[str, Pattern] = Field(default_factory=dict)
    """Keep only rows in which each of these columns matches its regular expression. An empty column never matches."""
    without: tuple[str, ...] = Field(default=(), strict=False)
    """Keep only rows in which each of these columns is empty, for example to skip questions with pictures."""
    question: str
    """The question's text, with columns in braces; `{column?}` may be empty. `{messages}` on its own stands for the
    conversation in the column of that name."""
    choices: Choices | None = None
    """The choices, if the question has any."""
    answer: Reading | None = None
    """The answer. With choices, it is the right one's label. None means the last assistant turn of `{messages}`."""
    rationale: Reading | None = None
    """The gold rationale."""
    domain: Reading | None = None
    """The domain. None means that the corpus has only one."""
    kind: str
    """The answer kind (see lada.tasks.answers)."""
    licence: str
    """The licence as stated by the authors."""
    paper: str
    """Its paper, or `-`."""
    note: str = ""
    """What users should know about the corpus."""

    @model_validator(mode="after")
    def _choices_are_asked(self) -> "Corpus":
        if (self.choices is not None) != ("{choices}" in self.question):
            raise ValueError("`choices` and {choices} in the question belong together; give both or neither")
        return self

    @model_validator(mode="after")
    def _has_an_answer(self) -> "Corpus":
        if self.answer is None and self.question.strip() != MESSAGES:
            raise ValueError(f"`answer` is missing; only a question that is just {MESSAGES} contains its own answer")
        return self


class UnreadableGoldError(InputError):
    """A row's gold answer cannot be read. In a large corpus such rows may be skipped."""


def corpus_names() -> list[str]:
    """Return the sorted names of the shipped corpora."""
    return sorted(file.name.removesuffix(".yaml") for file in (files("lada.tasks") / "corpora").iterdir())


def read_corpus(name: str, base: Path = Path()) -> Corpus:
    """Return a shipped corpus by name, or your own by the path of its YAML file, relative to `base`.

    A name that ends in `.yaml` or `.yml` is a path. Raises InputError for an unknown name, a missing file and anything
    in it that does not fit Corpus.
    """
    if name.endswith((".yaml", ".yml")):
        file = base / name
        if not is_file(file):
            raise InputError(f"task.corpus: there is no file {file}; check the path, relative to the configuration")
    else:
        if name not in corpus_names():
            raise InputError(
                f"task.corpus: unknown corpus {name!r}; expected one of {', '.join(corpus_names())}, or the path of "
                f"your own .yaml file{nearest(name, corpus_names())}"
            )
        file = files("lada.tasks") / "corpora" / f"{name}.yaml"
    try:
        corpus = Corpus.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InputError("\n".join(f"task.corpus: {name}: {_told(fault)}" for fault in error.errors())) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"task.corpus: {name} is not valid YAML: {error}") from None
    answer_kind(corpus.kind)
    return corpus


def _told(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(str(fault['loc'][-1]), Corpus.model_fields)}"
    if fault["type"] == "missing":
        return f"key {key!r} is missing; it has no default, so set it"
    return f"{key or 'file'}: {fault['msg'].removeprefix('Value error, ')}"


def sample_of(corpus: Corpus, row: Mapping[str, Any], where: str, name: str) -> Sample | None:
    """Return the sample of one row under the id `name`; None if `keep` or `without` excludes the row.

    Choices are labelled A to J in order, whatever their labels. Texts are stripped; a blank rationale counts as none.
    Raises UnreadableGoldError if only the gold answer is at fault, and InputError for any other row that does not fit.
    Both messages start with `where` and name the column.
    """
    if not _is_kept(corpus, row, where):
        return None
    labels: list[str] = []
    block = ""
    if corpus.choices is not None:
        labels, texts = _choices(corpus.choices, row, where)
        block = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, texts, strict=False))

    def fill(place: re.Match[str]) -> str:
        column = place[1]
        return block if column == "choices" and block else _filled(row, column, where, empty=bool(place[2]))

    reply = None
    if corpus.question.strip() == MESSAGES:
        question, reply = conversation(_at(row, "messages", where), f"{where}: column 'messages'")
    else:
        question = re.sub(r"\{([\w.]+)(\??)\}", fill, corpus.question).strip()
    return Sample(
        id=name,
        question=question,
        answer=_gold(corpus, row, labels, reply, where),
        rationale=(corpus.rationale and _read(corpus.rationale, row, where)) or reply,
        domain=(corpus.domain and _read(corpus.domain, row, where)) or ALL,
    )


def _is_kept(corpus: Corpus, row: Mapping[str, Any], where: str) -> bool:
    for column, pattern in corpus.keep.items():
        value = _at(row, column, where)
        if value is None or not re.search(pattern, _shown(value, column, where)):
            return False
    return all(_at(row, column, where) in (None, "", [], {}) for column in corpus.without)


def _gold(corpus: Corpus, row: Mapping[str, Any], labels: list[str], reply: str | None, where: str) -> str:
    """Return a row's gold answer; for a choice, its letter. Raises UnreadableGoldError."""
    kind = answer_kind(corpus.kind)
    if corpus.answer is None:
        answer, column = reply and (kind.extract(reply) or reply), "messages"
    else:
        column = corpus.answer.column
        _at(row, column, where)  # without the column no row can be read
        try:
            answer = _read(corpus.answer, row, where)
        except InputError as error:
            raise UnreadableGoldError(str(error)) from None
    if answer is None:
        raise UnreadableGoldError(f"{where}: column {column!r} is empty; expected the answer")
    if labels and answer not in labels:
        raise UnreadableGoldError(
            f"{where}: column {column!r} is {answer[:50]!r}; expected the label of a choice, one of {', '.join(labels)}"
        )
    if labels:
        answer = LETTERS[labels.index(answer)]
    if not kind.reads(answer):
        raise UnreadableGoldError(
            f"{where}: column {column!r}: kind {kind.name!r} cannot read the answer {answer[:50]!r}"
        )
    return answer


def _at(row: Mapping[str, Any], column: str, where: str) -> Any:
    """Return the value of a column, which may be nested in another."""
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = sorted(value) if isinstance(value, Mapping) else []
            has = f"; there are {', '.join(map(repr, known))}{nearest(part, known)}" if known else ""
            raise InputError(f"{where}: no column {column!r}{has}")
        value = value[part]
    return value


def _shown(value: Any, column: str, where: str) -> str:
    """Convert a value to text: true and false, one line per item of a list, bars between the cells of a table."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case list():
            return "\n".join(
                " | ".join(_shown(cell, column, where) for cell in item)
                if isinstance(item, list)
                else _shown(item, column, where)
                for item in value
            )
        case _:
            raise InputError(f"{where}: column {column!r} holds a {type(value).__name__}; expected text or numbers")


def _filled(row: Mapping[str, Any], column: str, where: str, *, empty: bool) -> str:
    value = _at(row, column, where)
    text = "" if value is None else _shown(value, column, where).strip()
    if not text and not empty:
        raise InputError(f"{where}: column {column!r} is empty; the question needs it")
    return text


def _read(reading: Reading, row: Mapping[str, Any], where: str) -> str | None:
    """Return the text that a reading finds in a row; None if the column is empty."""
    value = _at(row, reading.column, where)
    text = "" if value is None else _shown(value, reading.column, where).strip()
    if text and reading.pattern is not None:
        found = re.search(reading.pattern, text)
        if found is None or found[1] is None:
            raise InputError(
                f"{where}: column {reading.column!r} ends in {text[-50:]!r}; expected what {reading.pattern!r} finds"
            )
        text = found[1]
    if reading.remove is not None:
        text = re.sub(reading.remove, "", text)
    text = text.strip()
    if text and reading.map:
        if text not in reading.map:
            raise InputError(
                f"{where}: column {reading.column!r} is {text[:50]!r}; expected one of {', '.join(reading.map)}"
            )
        return reading.map[text]
    return text or None


def _choices(choices: Choices, row: Mapping[str, Any], where: str) -> tuple[list[str], list[str]]:
    """Return labels and texts of a row's choices."""
    value = _at(row, choices.texts, where)
    if isinstance(value, Mapping):
        given = {str(label): text for label, text in value.items() if text is not None}
        labels, texts = list(given), list(given.values())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        texts = list(value)
        labels = list(LETTERS[: len(texts)]) if choices.labels is None else list(_at(row, choices.labels, where))
    else:
        raise InputError(f"{where}: column {choices.texts!r} is {value!r}; expected a list or a mapping of choices")
    if not 2 <= len(texts) <= len(LETTERS) or len(labels) != len(texts) or len(set(labels)) < len(labels):
        raise InputError(
            f"{where}: column {choices.texts!r} has {len(texts)} choices and {len(set(labels))} different labels; "
            f"expected a label for each and 2 to {len(LETTERS)} of them"
        )
    shown = [_shown(text, choices.texts, where) for text in texts]
    return [str(label) for label in labels], [re.sub(choices.remove or "(?!)", "", text).strip() for text in shown]
