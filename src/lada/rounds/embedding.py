"""A party's embeddings of questions. Each question is embedded once, and its vector is stored in the party's folder."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from lada.allocators.memory import keys_of, places
from lada.core.errors import LadaError
from lada.core.sealed import is_sealed, seal, unseal
from lada.core.terms import OwnQuestions, Sample
from lada.rounds.party import Party

VECTORS, OWN_VECTORS = "question-vectors.npz", "own-question-vectors.npz"
"""In a party's folder: its embeddings of the public questions and of its private ones, by sample key."""


def embed_public(party: Party, round: int) -> np.ndarray:
    """Return one vector per public question, float32 [n, width], as the party embedded them the first time.

    They are stored in the party's folder. A changed file is ignored, and the questions are embedded again.
    """
    return _embed(party, round, party.task.public, VECTORS, "embed")


def embed_own(party: Party, round: int) -> OwnQuestions | None:
    """Return a client's private samples with the vectors of their questions, as of `embed_public`; None for a server.

    The vectors stay in the client's folder. The public questions are embedded first, with the same weights.
    """
    if party.role == "server":
        return None
    embed_public(party, round)
    return OwnQuestions(party.private, _embed(party, round, party.private, OWN_VECTORS, "embed-own"))


def _embed(party: Party, round: int, samples: Sequence[Sample], name: str, phase: str) -> np.ndarray:
    if not samples:
        return np.zeros((0, 1), np.float32)
    keys = keys_of(samples)
    kept = _kept_vectors(party, name)
    known = np.zeros(len(keys), bool) if kept is None else places(kept[0], keys) >= 0
    if kept is None or not known.all():
        with party.phase(round, phase) as progress:
            asked = [sample.question for sample, has in zip(samples, known, strict=True) if not has]
            seen = keys[~known], party.learner.embed(asked, progress=progress)
        kept = seen if kept is None else (np.concatenate([kept[0], seen[0]]), np.concatenate([kept[1], seen[1]]))
        data = BytesIO()
        np.savez(data, keys=kept[0], vectors=kept[1])
        seal(party.folder / name, data.getvalue())
    return kept[1][places(kept[0], keys)]


def _kept_vectors(party: Party, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the keys [m] and vectors [m, width] in a file of the party's folder; None if there is no valid file."""
    file = party.folder / name
    if not file.exists() and not is_sealed(file):
        return None
    try:
        with np.load(BytesIO(unseal(file)), allow_pickle=False) as kept:
            return kept["keys"], kept["vectors"]
    except LadaError as error:
        party.note(notices=(f"{name} of {party.name} is ignored ({error})",))
        return None
