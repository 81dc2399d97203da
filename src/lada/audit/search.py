"""Searches everything that one client sent for canaries and for distinctive passages of its private texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lada.audit.canaries import Canary, folded
from lada.audit.layers import Layer, layers
from lada.audit.texts import Text, texts
from lada.audit.verdict import Found, Searched
from lada.codecs import vocabulary
from lada.codecs.base import Codecs
from lada.core.errors import CodecError
from lada.core.plural import counted
from lada.federation import last_reply
from lada.federation.ledger import LedgerRow
from lada.privacy.distinctive import Distinctive


def search(
    folder: Path, rows: Sequence[LedgerRow], canaries: Sequence[Canary], private: Distinctive | None, codecs: Codecs
) -> Searched:
    """Search a client's copies in `folder` of what it sent; `rows` are the ledger's rows of its messages.

    A row is covered if a part with its digest was kept, so the searched part is the one that arrived. Parts without a
    row, such as a late reply, are searched too, and so are the names in the rows, which are sent with the parts.
    """
    of = {row.digest: row for row in rows}
    words = _vocabulary(folder, rows)
    finds = Finds(canaries, private)
    names = _names(rows)
    finds.look([("names", "\n".join(names).encode("utf-8", "surrogatepass"))], None, "")
    finds.read((("names", name, False) for name in names), None, "")
    digests: set[str] = set()
    size = unread = 0
    for digest, data in last_reply.read(folder):
        digests.add(digest)
        size += len(data)
        row = of.get(digest)
        finds.look(layers(data, words), row, digest)
        try:
            found = texts(row and row.kind, data, words, codecs)
        except CodecError:
            unread += 1
            found = ((layer, part.decode("utf-8", "replace"), False) for layer, part in layers(data))
        finds.read(found, row, digest)
    return Searched(
        parts=len(digests),
        bytes=size,
        uncovered=sum(row.digest not in digests for row in rows),
        beside=len(digests - of.keys()),
        unread=unread,
        passages=None if private is None else len(private),
        found=tuple(finds.found.values()),
    )


class Finds:
    """The findings so far, each once per message part."""

    def __init__(self, canaries: Sequence[Canary], private: Distinctive | None) -> None:
        self._canaries, self._private = canaries, private
        self.found: dict[tuple[str, str, str], Found] = {}

    def look(self, read: Iterable[Layer], row: LedgerRow | None, digest: str) -> None:
        """Search for canaries in the layers of one message part."""
        for layer, data in read if self._canaries else ():
            flat = folded(data.decode("utf-8", "replace"))
            for canary in self._canaries:
                for form in canary.forms_in(data, flat):
                    self._add(canary.name, form, layer, row, digest)

    def read(self, found: Iterable[Text], row: LedgerRow | None, digest: str) -> None:
        """Search for passages of private samples in the texts of one message part."""
        for layer, text, alone in found if self._private else ():
            for passage in self._private.found_in(text, alone=alone) if self._private else ():
                form = f"{counted(passage.words, 'word')} in a row, {passage.kind}"
                self._add(f"private sample {passage.sample_id!r}", form, layer, row, digest)

    def _add(self, what: str, form: str, layer: str, row: LedgerRow | None, digest: str) -> None:
        self.found.setdefault((what, form, digest), _entry(what, form, layer, row, digest))


def _entry(what: str, form: str, layer: str, row: LedgerRow | None, digest: str) -> Found:
    return Found(
        what=what,
        form=form,
        layer=layer,
        kind=row and row.kind,
        round=row and row.round,
        phase=row and row.phase,
        digest=digest,
    )


def _names(rows: Sequence[LedgerRow]) -> list[str]:
    """Return the names that are sent in addition to the parts' content."""
    return sorted({name for row in rows for name in (row.phase, row.sender, row.kind)})


def _vocabulary(folder: Path, rows: Sequence[LedgerRow]) -> list[bytes] | None:
    """Return the client's vocabulary, which it sends once; None if it did not."""
    wanted = {row.digest for row in rows if row.kind == vocabulary.KIND}
    for digest, data in last_reply.read(folder) if wanted else ():
        if digest in wanted:
            try:
                return vocabulary.decode(data)[0]
            except CodecError:
                continue
    return None
