"""Search all that one client sent for canaries and for telling passages of its private texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lada.audit.canaries import Canary, folded
from lada.audit.layers import Layer, layers
from lada.audit.passages import Watched
from lada.audit.verdict import Found, Searched
from lada.codecs import vocabulary
from lada.core.errors import CodecError
from lada.federation import sent
from lada.federation.ledger import Row
from lada.hosts.knowledge import VOCABULARY


def search(folder: Path, rows: Sequence[Row], canaries: Sequence[Canary], watched: Sequence[Watched]) -> Searched:
    """Search what a client kept in `folder` of all it sent; `rows` are the ledger's of its messages.

    A row is covered where a part with its digest was kept: so what was searched is what arrived. Parts that are in no
    row, such as a reply that came too late, are searched too, and so are the names in the rows, which travel beside.

    Of `watched`, by length of passages, the one counts at which a find is telling; see lada.audit.passages.
    """
    of = {row.digest: row for row in rows}
    words = _vocabulary(folder, rows)
    finds = Finds(canaries, watched)
    finds.look([("names", _names(rows))], None, "")
    digests: set[str] = set()
    size = 0
    for digest, data in sent.read(folder):
        digests.add(digest)
        size += len(data)
        finds.look(layers(data, words), of.get(digest), digest)
    chosen = finds.telling()
    return Searched(
        parts=len(digests),
        bytes=size,
        uncovered=sum(row.digest not in digests for row in rows),
        beside=len(digests - of.keys()),
        words=watched[chosen].words if watched else None,
        passages=len(watched[chosen].private) if watched else 0,
        short=watched[chosen].private.short if watched else 0,
        chance=finds.others[chosen] if watched else 0,
        found=tuple([*finds.canaries.values(), *(finds.private[chosen].values() if watched else ())]),
    )


class Finds:
    """What has been found so far, each thing once per message part."""

    def __init__(self, canaries: Sequence[Canary], watched: Sequence[Watched]) -> None:
        self._canaries, self._watched = canaries, watched
        self.canaries: dict[tuple[str, str, str], Found] = {}
        self.private: list[dict[tuple[str, str], Found]] = [{} for _ in watched]
        """By length of passages."""
        self._others: list[set[str]] = [set() for _ in watched]

    @property
    def others(self) -> list[int]:
        """How many texts were found, by length, that the client never studied."""
        return [len(names) for names in self._others]

    def telling(self) -> int:
        """Return the place of the length at which a find is telling; the last where none is."""
        last = len(self._watched) - 1
        first = next((i for i, count in enumerate(self.others) if not count), last)
        return min(first + 1, last) if first else 0

    def look(self, read: Iterable[Layer], row: Row | None, digest: str) -> None:
        """Look for everything in the layers of one message part."""
        for layer, data in read:
            text = data.decode("utf-8", "replace")
            flat = folded(text)
            for canary in self._canaries:
                for form in canary.forms_in(data, flat):
                    entry = _entry(canary.name, form, layer, row, digest)
                    self.canaries.setdefault((canary.name, form, digest), entry)
            for i, watched in enumerate(self._watched):
                for name in watched.private.found_in(text):
                    entry = _entry(name, f"{watched.words} words in a row", layer, row, digest)
                    self.private[i].setdefault((name, digest), entry)
                self._others[i].update(watched.others.found_in(text))


def _entry(what: str, form: str, layer: str, row: Row | None, digest: str) -> Found:
    return Found(
        what=what,
        form=form,
        layer=layer,
        kind=row and row.kind,
        round=row and row.round,
        phase=row and row.phase,
        digest=digest,
    )


def _names(rows: Sequence[Row]) -> bytes:
    """Return the names that travel beside what the parts hold."""
    names = {name for row in rows for name in (row.phase, row.sender, row.kind)}
    return "\n".join(sorted(names)).encode("utf-8", "surrogatepass")


def _vocabulary(folder: Path, rows: Sequence[Row]) -> list[bytes] | None:
    """Return what the client's token ids stand for, as it told once; None where it did not."""
    wanted = {row.digest for row in rows if row.kind == VOCABULARY}
    for digest, data in sent.read(folder) if wanted else ():
        if digest in wanted:
            try:
                return vocabulary.decode(data)[0]
            except CodecError:
                continue
    return None
