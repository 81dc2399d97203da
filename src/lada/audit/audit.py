"""Audits a run on the machine with its folder: what left each client, and whether any of it was private."""

import re
from collections.abc import Sequence
from pathlib import Path

from lada.audit.canaries import Canary, make_canary
from lada.audit.exposure import exposures
from lada.audit.search import search
from lada.audit.verdict import Audit, ClientAudit, Crossing
from lada.codecs.base import CODECS, Codecs
from lada.config import ClientConfig, RunConfig
from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.federation import last_reply, run_folder
from lada.federation.ledger import LedgerRow, read
from lada.federation.parties import Place, known_texts, read_task
from lada.privacy.distinctive import Distinctive
from lada.privacy.options import Withholding
from lada.tasks.data import TaskData

HEAD = re.compile(r"\S+ reference \S+, run ")
"""The line above each error in a client's log."""


def audit(
    run: Path,
    *,
    canaries: Sequence[str] = (),
    private: Path | None = None,
    memberships: bool = False,
    exposed: Path | None = None,
) -> Audit:
    """Return what crossed and what a search of it found.

    `canaries` are texts that must not have left, and so is every line of the file `private`. With `memberships` the
    clients' models are asked too how well they tell their private samples from test samples. `exposed` is a file of
    planted secrets, whose exposure in all parties' models is measured.
    Raises InputError for a folder that is no run, a file that cannot be read, a canary that is too short.
    """
    config, place = _run(run)
    rows = read(place.folder)
    wanted = [make_canary(f"canary {number}", text) for number, text in enumerate(canaries, 1)]
    wanted += _lines(private) if private else []
    try:
        task, fault = read_task(config, place.base), ""
    except InputError:
        task, fault = None, "its private samples are not on this machine, so only canaries were searched for"
    return Audit(
        run=config.name,
        canaries=len(wanted),
        clients=tuple(
            _client(config, place, client, rows, wanted, task, fault, memberships=memberships)
            for client in sorted(config.clients, key=lambda client: client.name)
        ),
        exposures=exposures(config, place, exposed) if exposed else (),
    )


def _client(
    config: RunConfig,
    place: Place,
    client: ClientConfig,
    rows: Sequence[LedgerRow],
    canaries: Sequence[Canary],
    task: TaskData | None,
    fault: str,
    *,
    memberships: bool,
) -> ClientAudit:
    from lada.federation.membership import audit_memberships

    name = client.name
    folder = place.party(name)
    codecs = Codecs(config.make_all(CODECS))
    left = [row for row in rows if row.sender == name]
    kept = last_reply.is_kept(folder)
    private = _private(folder, client, task) if kept and task else None
    notes = [fault] if fault else []
    if not kept:
        notes.append(
            "it kept no copy of what it sent, so the ledger shows kinds, counts, bytes and digests and nothing of the "
            "content; set keep_messages: true to have the next run searched, unless it is a deployment, whose clients "
            "keep no copies"
        )
    return ClientAudit(
        name=name,
        sent=_crossings(left),
        received=_crossings([row for row in rows if row.receiver == name]),
        searched=search(folder, left, canaries, private, codecs) if kept else None,
        pooled=sum(row.samples or 0 for row in left if row.kind in codecs and codecs[row.kind].private),
        notes=tuple(notes),
        memberships=audit_memberships(config, place, name) if memberships else (),
    )


def _run(run: Path) -> tuple[RunConfig, Place]:
    try:
        return run_folder.read(run)
    except InputError:
        raise InputError(
            f"{str(run)!r} is not the folder of a run: it lacks a valid {run_folder.CONFIG} or {run_folder.PLACE}; "
            "expected a folder such as runs/demo"
        ) from None


def _lines(file: Path) -> list[Canary]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--private {str(file)!r}: {type(error).__name__}; expected a text file in UTF-8, one private text a line"
        ) from None
    wanted = [make_canary(f"{file.name} line {n}", line) for n, line in enumerate(lines, 1) if line.strip()]
    if not wanted:
        raise InputError(f"--private {str(file)!r}: it holds no line; expected one private text a line")
    return wanted


def _private(folder: Path, client: ClientConfig, task: TaskData) -> Distinctive:
    """Return the passages of a client's private samples and error log to search for, regardless of what it withheld
    itself."""
    from lada.federation.client_app import ERROR_LOG  # here, since it imports Flower

    private = list(task.private[client.name])
    log = folder / ERROR_LOG
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        # The line above each error (time, run, round) is the program's, and so are these words in its notices.
        private.append(Sample(ERROR_LOG, "\n".join(line for line in lines if not HEAD.match(line))))
    return Distinctive(private, known_texts(task, client), client.withhold or Withholding())


def _crossings(rows: Sequence[LedgerRow]) -> tuple[Crossing, ...]:
    """Return the sums of rows by kind, sorted."""
    kinds = sorted({row.kind for row in rows})
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    return tuple(
        Crossing(
            kind=kind,
            messages=len(those),
            samples=sum(row.samples or 0 for row in those) if any(row.samples is not None for row in those) else None,
            bytes=sum(row.bytes for row in those),
        )
        for kind, those in by_kind.items()
    )
