"""Facts about a party's model for a plan: checked, measured and traced, or known from an earlier plan."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lada.core.errors import InputError
from lada.core.paths import is_folder
from lada.core.results import Record
from lada.core.terms import Sample
from lada.models.files import SUFFIX, check_files
from lada.models.memory import SHAPING, Trace
from lada.models.options import ModelOptions
from lada.models.shapes import local_folder, shipped_config
from lada.planning.kept import keep
from lada.planning.lengths import Lengths, measure
from lada.zoo.shipped import locate

if TYPE_CHECKING:
    from lada.models.encoding import Encoder
    from lada.models.shapes import Shape

WHOLE = 2**26
"""Files of a model's folder up to this many bytes are identified by content, larger ones by size and time."""
IDLE = {"batch_size", "device"}
"""Options that no fact depends on."""
HEADER = 8
"""Bytes before a safetensors header: its length, little-endian."""


class Facts(Record):
    """A model without detectable faults: the origin of its shape, its embeddings, the lengths of texts."""

    shape: str
    embeddings: int
    lengths: Lengths


@dataclass(frozen=True)
class Model:
    """The model of some options, if it is on this machine or its shape is shipped."""

    options: ModelOptions
    digest: str
    """A digest of everything that is read of it."""

    def facts(self, samples: Sequence[Sample] | None) -> Facts:
        """Return the facts about it, and about the texts that it sees (None: not available).

        Raises InputError if a run would refuse it, as far as that can be detected offline.
        """
        asked = self.options.model_dump(mode="json", exclude=IDLE)
        return keep(
            Facts, {"model": self.digest, "options": asked, "texts": _texts(samples)}, lambda: self._found(samples)
        )

    def trace(self, options: ModelOptions, dtype: str, lengths: Lengths) -> Trace:
        """Return the trace of its shape under options whose values may differ from its own.

        Raises InputError if that is impossible.
        """
        asked = options.model_dump(mode="json", include=set(SHAPING))
        depends = {
            "model": self.digest,
            "options": asked,
            "dtype": dtype,
            "tokens": [lengths.prompt, lengths.completion],
        }
        return keep(Trace, depends, lambda: self._traced(options, dtype, lengths))

    def _shape(self) -> "Shape":
        from lada.models.shapes import read_shape

        shape = read_shape(locate(self.options.model), self.options.revision)
        assert shape is not None
        return shape

    def _found(self, samples: Sequence[Sample] | None) -> Facts:
        from lada.models.vocabulary import embeddings_of

        shape, encoder = self._sound
        return Facts(
            shape=shape.source,
            embeddings=embeddings_of(shape.config) or 0,
            lengths=measure(samples, encoder, self.options.max_new_tokens),
        )

    @cached_property
    def _sound(self) -> "tuple[Shape, Encoder | None]":
        """Shape and encoder, checked once for all parties that have this model."""
        from lada.models.frame import check_frame
        from lada.models.load import check_context

        shape = self._shape()
        check_context(shape.config, self.options)
        check_frame(locate(self.options.model), shape.config, self.options)
        return shape, _encoder(self.options, shape)

    def _traced(self, options: ModelOptions, dtype: str, lengths: Lengths) -> Trace:
        import torch

        from lada.models.trace import trace

        return trace(self._shape().config, options, getattr(torch, dtype), lengths.prompt, lengths.completion)


def find_model(options: ModelOptions) -> Model | None:
    """Return the model that options name; None for an id that is unknown on this machine.

    Raises InputError if it is not a model, or if files of its folder are incomplete.
    """
    source = locate(options.model)
    check_files(source)
    folder = local_folder(source, options.revision)
    if folder is not None:
        return Model(options, _digest(folder))
    shipped = shipped_config(source)
    return Model(options, hashlib.sha256(shipped.read_bytes()).hexdigest()) if shipped.is_file() else None


def _digest(folder: Path) -> str:
    """Return a digest of the readable parts of a model's folder: the headers of weights, the content of other files."""
    digest = hashlib.sha256()
    more = folder / "additional_chat_templates"
    for file in sorted([*folder.iterdir(), *(more.iterdir() if more.is_dir() else ())]):
        if file.is_file():
            told = _told(file)
            name = file.relative_to(folder).as_posix().encode()
            digest.update(b"%d %d %b" % (len(name), len(told), name) + told)
    return digest.hexdigest()


def _told(file: Path) -> bytes:
    """Return the identity of a file: its content, or less for weights and large files."""
    known = file.stat()
    if file.suffix == SUFFIX:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(HEADER), "little")
            return b"%d " % known.st_size + stream.read(min(length, WHOLE))
    return file.read_bytes() if known.st_size <= WHOLE else b"%d %d" % (known.st_size, known.st_mtime_ns)


def _encoder(model: ModelOptions, shape: "Shape") -> "Encoder | None":
    """Return the model's encoder if its tokenizer is on this machine.

    Raises InputError for a user's own folder without one; for a hub model, it may still be downloaded.
    """
    from lada.models.encoding import context_of, encoder_of
    from lada.models.load import load_tokenizer
    from lada.models.vocabulary import check_vocabulary, embeddings_of

    if shape.folder is None:
        return None
    own = is_folder(locate(model.model))
    try:
        tokenizer = load_tokenizer(str(shape.folder), model.revision if own else None)
    except InputError:
        if own:
            raise
        return None
    encoder = encoder_of(tokenizer, model, context_of(shape.config))
    if rows := embeddings_of(shape.config):
        check_vocabulary(encoder, rows)
    return encoder


def _texts(samples: Sequence[Sample] | None) -> str | None:
    """Return a digest of the texts whose lengths are measured."""
    if samples is None:
        return None
    digest = hashlib.sha256()
    for sample in samples:
        for text in (sample.question, sample.rationale, sample.answer):
            told = b"-" if text is None else text.encode("utf-8", "surrogatepass")
            digest.update(b"%d " % len(told) + told)
    return digest.hexdigest()
