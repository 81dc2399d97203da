"""A client's node: for each message it restores its party, lets it answer, and saves the changes.

A message has a key, (round, phase). A repeated message gets the stored reply and changes nothing. So the server may ask
again whenever it does not know whether a client received a message.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from flwr.app import Context

from lada.config import RunConfig
from lada.core.errors import FederationError, LadaError
from lada.core.known import Known
from lada.core.validation import validate
from lada.federation import begun, checkpoints, last_reply, party_cache
from lada.federation.journal import Journal
from lada.federation.parties import MODEL, NEEDED, Place, client_party, describe, keep, read_task
from lada.federation.parts import Parts, to_files
from lada.federation.pieces import What
from lada.points import registries_frozen
from lada.rounds.base import Payload
from lada.rounds.checks import FINISH, Guard
from lada.rounds.membership import memberships
from lada.rounds.party import Emit, Party
from lada.rounds.reports import report_payload
from lada.tasks.data import TaskData

ANSWERED = "answered.json"
"""The messages that a party has answered, oldest first: key and digest."""
REPLY = "reply"
"""The folder with the reply to the last message."""
REQUEST = "request"
"""The journal's entry with a received message."""


class Node:
    """A client's node. Any process may answer, since a party is stored on disk between messages."""

    def __init__(self, config: RunConfig, place: Place, task: Callable[[], TaskData], name: str, emit: Emit) -> None:
        self._config, self._place, self._task, self._name, self._emit = config, place, task, name, emit

    def handle(self, phase: str, round: int, payload: Payload) -> Payload:
        """Run the client half of one phase, save the changes, and return the reply.

        With `keep_messages`, the reply is kept too, for an audit. Raises FederationError, changing nothing, for a
        message that is older than the last or differs from an earlier one with the same key.
        """
        reply = self._handle(phase, round, payload)
        if self._config.keep_messages:
            last_reply.keep(self._place.party(self._name), reply)
        return reply

    def _handle(self, phase: str, round: int, payload: Payload) -> Payload:
        asked = Asked(phase, round, dict(payload))
        kept = self._kept_beside() or self._kept()
        if asked.key in kept.answered:
            return kept.again(asked)
        journal = self._place.journal(self._name)
        for earlier in _unanswered(journal, kept.answered):
            if earlier.key != asked.key:  # the reply was lost together with the newest checkpoint
                self._answer(earlier, kept, journal)
                kept = self._kept()
        return self._answer(asked, kept, journal)

    def fetch(self, round: int, what: What) -> bytes:
        """Return a piece of the reply to the last message. Raises FederationError for any other."""
        # Verifying reads the whole checkpoint, so it is done only with the first piece of a kind.
        kept = self._kept() if what.start == 0 else Kept.read(self._place.checkpoint(self._name))
        key = f"{round}-{what.phase}"
        if not isinstance(kept.reply, Parts) or what.kind not in kept.reply or key != next(reversed(kept.answered)):
            raise FederationError(f"fetch: the reply to {key} no longer has this part")
        return kept.reply.piece(what.kind, what.start, what.length)

    def _kept(self) -> "Kept":
        folder = self._place.checkpoint(self._name)
        if not checkpoints.exists(folder):
            return Kept()
        found, fault = checkpoints.find(folder, NEEDED)
        if fault:
            party_cache.forget()  # the party in memory has answered more than the previous checkpoint
        return Kept.read(found)

    def _kept_beside(self) -> "Kept | None":
        """Return the checkpoint's record of messages if the learner is in memory, so that its files need not be read.

        None if it is not in memory, or cannot be relied on.
        """
        folder = self._place.checkpoint(self._name)
        if not party_cache.holds(self._place, self._name):
            return None
        try:
            checkpoints.verify(folder, NEEDED, unread=MODEL)
        except LadaError:
            return None
        return Kept.read(folder)

    def _answer(self, asked: "Asked", kept: "Kept", journal: Journal) -> Payload:
        here = journal.at(asked.key)
        here.save(REQUEST, asked.write)
        with registries_frozen(), party_cache.party(self._place, self._name, self._open) as party:
            party.emit, party.journal = self._emit, here
            try:
                reply = self._reply(asked, party)
            except Exception:
                journal.prune(set(kept.answered))  # a message that cannot be answered is not retried automatically
                raise
            keep(party, self._place, kept.after(asked, reply))
        journal.prune({asked.key})
        return reply

    def _reply(self, asked: "Asked", party: Party) -> Payload:
        host, payload = self._config.make_host(), Known(asked.payload)
        Guard(host, party).check_ask(self._config.server.name, asked.phase, asked.round, payload)
        if asked.phase == FINISH:
            party.note(parties=(describe(party),))
            if self._config.membership_audit:
                party.note(memberships=memberships(party, party.untrained(), asked.round))
            return report_payload(party)
        return host.reply(asked.phase, party, asked.round, payload)

    def _open(self) -> Party:
        task = self._task()
        if (self._place.folder / begun.BEGUN).exists():
            found = begun.samples(task, [self._name])
            if changed := begun.changed(self._place.folder, found):
                raise FederationError(f"{', '.join(changed)}: changed since the run began; restore it")
        return client_party(self._config, self._place, task, self._emit, self._name)


@dataclass(frozen=True, slots=True)
class Asked:
    """A message to a client."""

    phase: str
    round: int
    payload: dict[str, bytes]

    @property
    def key(self) -> str:
        """The key that identifies a message among those of a run that a client gets."""
        return f"{self.round}-{self.phase}"

    @property
    def digest(self) -> str:
        """SHA-256 of the payload."""
        digest = hashlib.sha256()
        for kind, data in sorted(self.payload.items()):
            digest.update(f"{kind} {len(data)} ".encode())
            digest.update(data)
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        """Write the message as files."""
        head = json.dumps({"phase": self.phase, "round": self.round}).encode()
        checkpoints.files({"head.json": head, **to_files(self.payload, "payload")})(folder)

    @classmethod
    def read(cls, folder: Path) -> "Asked":
        """Return the message that `write` wrote."""
        head = json.loads((folder / "head.json").read_bytes())
        return cls(head["phase"], head["round"], dict(Parts(folder / "payload")))


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint's record of answered messages: digests by key, oldest first, and the last reply."""

    answered: dict[str, str] = field(default_factory=dict)
    reply: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, checkpoint: Path) -> "Kept":
        """Return the record that `after` put into a checkpoint."""
        return cls(json.loads((checkpoint / ANSWERED).read_bytes()), Parts(checkpoint / REPLY))

    def after(self, asked: Asked, reply: Payload) -> dict[str, bytes]:
        """Return the files of the checkpoint that follows an answer."""
        answered = json.dumps({**self.answered, asked.key: asked.digest}).encode()
        return {ANSWERED: answered, **to_files(reply, REPLY)}

    def again(self, asked: Asked) -> Mapping[str, bytes]:
        """Return the reply to a message that was answered before. Raises FederationError if it cannot be repeated."""
        if self.answered[asked.key] != asked.digest:
            raise FederationError(
                f"message {asked.key}: this client answered it before, with other content. Either another sender uses "
                "the server's name, or two servers have the same name. Nothing was changed; ask the server's operator"
            )
        if asked.key != next(reversed(self.answered)):
            raise FederationError(
                f"message {asked.key}: this client answered it before, and later ones since, so it is a replay. "
                "Nothing was changed; ask the server's operator whether the run was set back to an older copy of its "
                "folder"
            )
        return self.reply


def _unanswered(journal: Journal, answered: Mapping[str, str]) -> list[Asked]:
    """Return the messages that a party received but did not finish answering: at most one, unless files were lost."""
    entries = [journal.at(name).load(REQUEST) for name in journal.names() if name not in answered]
    return [Asked.read(entry) for entry in entries if entry is not None]


def task_of(config: RunConfig, base: Path) -> TaskData:
    """Return the samples of a run. A process reads them once, and answers for one run at a time."""
    return _task(config.model_dump_json(), base)


@lru_cache(maxsize=1)
def _task(config: str, base: Path) -> TaskData:
    return read_task(RunConfig.model_validate_json(config), base)


@cache
def _run(text: str) -> tuple[RunConfig, Place, Callable[[], TaskData]]:
    """Return the content of `node_config`, checked once per process, and a function that reads the task when needed."""
    run = json.loads(text)
    common = run["common"] and Path(run["common"])
    place = Place(Path(run["folder"]), Path(run["base"]), float(run["started"]), common)
    config: RunConfig = validate(RunConfig, run["config"])
    return config, place, cache(lambda: read_task(config, place.base))


def open_node(context: Context, _name: str, emit: Emit) -> Node:
    """Make the node that `node_config` describes."""
    config, place, task = _run(str(context.node_config["config"]))
    return Node(config, place, task, str(context.node_config["name"]), emit)


def node_config(config: RunConfig, place: Place) -> str:
    """Return the configuration that `open_node` reads, as JSON; it is the same for every client."""
    return json.dumps(
        {
            "config": config.model_dump(mode="json"),
            "folder": str(place.folder),
            "base": str(place.base),
            "started": place.started,
            "common": place.common and str(place.common),
        }
    )
