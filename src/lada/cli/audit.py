"""`lada audit`: what left each client, and what a search of it found."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lada.audit.verdict import Audit, ClientAudit, Exposure, Searched
from lada.core.plural import counted, plural

SHOWN = 20
"""How many findings of a client are listed; --json has all."""


def told(audit: Audit) -> Iterator[RenderableType]:
    """Yield what to print of an audit."""
    for client in audit.clients:
        yield _crossings(client)
        failed = client.verdict != "clean"
        if client.pooled:
            yield Text(
                f"{client.name}: found; {client.pooled:,} {plural(client.pooled, 'private sample')} left it as they "
                f"are",
                style="bold red",
            )
        yield Text(_search(client, audit.canaries), style="bold red" if failed else "")
        found = client.searched.found if client.searched else ()
        for one in found[:SHOWN]:
            place = f"{one.kind}, round {one.round}, phase {one.phase}" if one.kind else "a part outside the ledger"
            yield Text(f"  {one.what}: {one.form} ({one.layer}) in {place}, sha256 {one.digest[:16] or 'unknown'}")
        if len(found) > SHOWN:
            yield Text(f"  and {len(found) - SHOWN} more; --json lists them all")
        for one in client.memberships:
            yield Text(
                f"  membership by {one.attack}: AUC {one.auc:.3f} ({one.low:.3f} to {one.high:.3f}), "
                f"{100 * one.tpr:.1f} % of {counted(one.members, 'member')} at 1 % false alarms among "
                f"{counted(one.others, 'other')}"
            )
        for note in client.notes:
            yield Text(f"  note: {note}")
    if audit.exposures:
        yield _exposures(audit.exposures)
    yield Text("passed" if audit.passed else "not passed", style="bold")


def _crossings(client: ClientAudit) -> Table:
    table = Table("direction", "kind", title=client.name)
    for name in ("parts", "samples", "bytes"):
        table.add_column(name, justify="right")
    for direction, crossings in (("left it", client.sent), ("came in", client.received)):
        for one in crossings:
            samples = "–" if one.samples is None else f"{one.samples:,}"
            table.add_row(direction, one.kind, f"{one.messages:,}", samples, f"{one.bytes:,}")
    return table


def _exposures(exposures: Sequence[Exposure]) -> Table:
    table = Table("party", "secret", title="exposure of planted secrets")
    for name in ("bits", "rank", "candidates"):
        table.add_column(name, justify="right")
    for one in exposures:
        table.add_row(one.party, one.secret, f"{one.bits:.2f}", f"{one.rank:g}", f"{one.candidates:,}")
    return table


def _search(client: ClientAudit, canaries: int) -> str:
    """Return the verdict as a sentence."""
    searched = client.searched
    if searched is None:
        return f"{client.name}: not searched"
    what = f"{searched.bytes:,} {plural(searched.bytes, 'byte')} in {counted(searched.parts, 'part')}"
    what += f" for {counted(canaries, 'canary', 'canaries')}"
    if searched.passages is not None:
        what += f" and {searched.passages:,} {plural(searched.passages, 'distinctive passage')} of its private samples"
    return f"{client.name}: {client.verdict}; searched {what}{_gaps(searched)}"


def _gaps(searched: Searched) -> str:
    gaps = []
    if searched.uncovered:
        gaps.append(
            f"{counted(searched.uncovered, 'row')} of the ledger {plural(searched.uncovered, 'has', 'have')} no "
            f"kept copy and {plural(searched.uncovered, 'was', 'were')} not searched"
        )
    if searched.beside:
        gaps.append(
            f"{counted(searched.beside, 'part')} {plural(searched.beside, 'is', 'are')} in no row of the ledger and "
            f"{plural(searched.beside, 'was', 'were')} searched too"
        )
    if searched.unread:
        gaps.append(
            f"{counted(searched.unread, 'part')} {plural(searched.unread, 'is', 'are')} in a form that cannot be read"
        )
    if searched.passages is None:
        gaps.append("passages of its private samples were not searched, since these samples are missing here")
    return "".join(f"; {gap}" for gap in gaps)
