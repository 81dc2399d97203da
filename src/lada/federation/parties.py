"""Builds parties from a configuration, and stores them on disk between phases."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lada.allocators.base import ALLOCATORS
from lada.choosing import host_default
from lada.codecs.base import CODECS, Codecs
from lada.codecs.generated import with_origin
from lada.config import ClientConfig, RunConfig
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.clock import since
from lada.core.errors import LadaError, of_party
from lada.core.needs import SignalSpec
from lada.core.paths import is_folder
from lada.core.results import PartyInfo, PartyReport
from lada.core.seeds import seed_of
from lada.core.terms import Sample
from lada.federation import checkpoints
from lada.federation.journal import Journal
from lada.federation.rounds_noted import DIGESTS, RoundsNoted
from lada.federation.shared_cache import SharedCache
from lada.fusers.base import FUSERS
from lada.hooks.base import HOOKS
from lada.hosts.base import HOSTS
from lada.learners.base import opener
from lada.models.base import Learner, Studies
from lada.models.files import check_files
from lada.models.learners import LearnerOptions
from lada.models.shapes import local_folder
from lada.objectives.base import OBJECTIVES
from lada.points import POINTS
from lada.privacy.distinctive import Distinctive, texts_of
from lada.rounds.noted import Noted
from lada.rounds.party import SHARED_SLM, Emit, Party, Within
from lada.rounds.pool import restore_pool
from lada.rounds.rehearsal import check_general
from lada.tasks.data import TaskData
from lada.tasks.load import check_named, load_task
from lada.tasks.options import BuiltinTask
from lada.zoo.shipped import locate

MODEL, STATE, STEPS, REPORT, OWNER = "model", "state.safetensors", "steps.json", "report.json", "party"
"""The parts of a checkpoint: the learner in Hugging Face format, the plug-ins' states, the steps studied with each
objective, unreported measurements, and the party's name."""
NEEDED = (STATE, REPORT)
"""The required parts of a checkpoint."""
ROUNDS_DONE, CROSSED = "rounds-done", "crossed"
"""In the server's checkpoint: the last finished round, and how many rows the ledger had then."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The place and time of a run: its folder, the folder where relative paths start, its Unix start time."""

    folder: Path
    base: Path
    started: float
    common: Path | None = None
    """The folder in which runs share work; None: the run does everything itself."""

    def checkpoint(self, party: str) -> Path:
        """Return the folder of a party's checkpoint."""
        return self.folder / checkpoints.FOLDER / party

    def party(self, name: str) -> Path:
        """Return a party's own folder."""
        return self.folder / "clients" / name

    @property
    def noted(self) -> Path:
        """The folder of the server's records, round by round."""
        return self.folder / "noted"

    def journal(self, party: str) -> Journal:
        """Return a party's journal."""
        return Journal(self.folder / "journal" / party)


def read_task(config: RunConfig, base: Path) -> TaskData:
    """Return the samples of a run; relative paths in the configuration start at `base`.

    Raises InputError for samples that cannot be read, and for a client that shall rehearse what the task lacks.
    """
    clients = {client.name: client.domains for client in config.clients}
    task = load_task(config.task, clients, config.seed, base=base)
    for client in config.clients:
        with of_party(f"clients.{client.name}"):
            check_general(client.rehearse, task.replay)
    return task


def server_party(config: RunConfig, place: Place, task: TaskData, emit: Emit) -> Party:
    """Build the server."""
    server = config.server
    studies = Studies(server.distil, server.distil)
    party = _party(config, place, task, emit, name=server.name, model=server.model, studies=studies)
    party.temperature = server.temperature
    party.open_slm = lambda: _shared_slm(config, place, party)
    if config.engine != "deployment":  # there, each client brings its own model
        party.samples_of = lambda client: _samples_of(config, task, client)
    return party


def _samples_of(config: RunConfig, task: TaskData, client: str) -> int | None:
    """Return how many private samples a client has; None for a client that the task does not know."""
    if client not in task.private:
        return None
    # With a built-in corpus they are drawn on access, which is too costly just to count them.
    return config.task.private if isinstance(config.task, BuiltinTask) else len(task.private[client])


def _shared_slm(config: RunConfig, place: Place, server: Party) -> Party:
    """Build the result of `Party.open_slm`, with the first client's model and options."""
    first = config.clients[0]
    model = first.model
    assert model is not None

    def reopen(folder: Path | None) -> Learner:
        return opener(model).open(place.base, init_seed=_init_seed(config, SHARED_SLM, model), saved=folder)

    return dataclasses.replace(
        server,
        name=SHARED_SLM,
        role="client",
        learner=reopen(None),
        studies=Studies(first.private, first.distil),
        folder=place.party(SHARED_SLM),
        noted=Noted(),
        journal=Within(server.journal, SHARED_SLM),
        reopen=reopen,
    )


def client_party(config: RunConfig, place: Place, task: TaskData, emit: Emit, name: str) -> Party:
    """Build a client, from its last checkpoint if there is one."""
    client = next(client for client in config.clients if client.name == name)
    assert client.model is not None
    studies = Studies(client.private, client.distil)
    party = _party(config, place, task, emit, name=name, model=client.model, studies=studies)
    party.policies = config.make_policies(name)
    party.self_context, party.rehearse = client.self_context, client.rehearse

    @lru_cache(maxsize=1)
    def distinctive(generated: tuple[Sample, ...]) -> Distinctive | None:
        return distinctive_of(config, task.with_generated(generated), client, party.private)

    party.distinctive = lambda: distinctive(with_origin(party.task.public))
    return party


def distinctive_of(
    config: RunConfig, task: TaskData, client: ClientConfig, private: Sequence[Sample]
) -> Distinctive | None:
    """Return which passages of a client's `private` samples must not leave it; None if it withholds none."""
    options = client.guard
    if options is None or config.make(HOSTS).needs.pools_private:
        return None
    return Distinctive(private, known_texts(task, client), options)


def known_texts(task: TaskData, client: ClientConfig) -> list[str]:
    """Return the texts that are not secret: public, test and replay samples, and the texts given to a client's
    model."""
    shared = [text for sample in (*task.public, *task.test, *task.replay) for text in texts_of(sample)]
    return [*shared, *client.model.texts] if client.model else shared


def _init_seed(config: RunConfig, name: str, model: LearnerOptions) -> int:
    """Return the seed of the weights that a party draws: its own, or one that it shares with others."""
    return seed_of(config.seed, model.drawn_with or name, "lora")


def check_model(model: LearnerOptions, owner: str) -> None:
    """Raise InputError if something that is quick to check is missing: a model's files or package, the key of its API.

    `owner` is the party's key, such as `clients.clinic`; the message begins with it.
    """
    with of_party(owner):
        opener(model).check()


def check_sources(config: RunConfig, base: Path) -> None:
    """Raise InputError if data or a model that a run names is missing, as far as no library is needed to tell.

    Data files must exist, model folders must be complete, and other models must be in the zoo or have a hub id.
    Relative paths of data start at `base`.
    """
    check_named(config.task, base)
    for owner, party in (("server", config.server), *((f"clients.{client.name}", client) for client in config.clients)):
        if party.model is not None and party.model.source:
            with of_party(owner):
                model = locate(party.model.source)
                check_files(model)
                if not is_folder(model):
                    local_folder(model)


def _party(
    config: RunConfig,
    place: Place,
    task: TaskData,
    emit: Emit,
    *,
    name: str,
    model: LearnerOptions,
    studies: Studies,
) -> Party:
    kept = place.checkpoint(name)
    saved, fault = checkpoints.find(kept, NEEDED) if checkpoints.exists(kept) else (None, None)

    def reopen(folder: Path | None) -> Learner:
        return opener(model).open(place.base, init_seed=_init_seed(config, name, model), saved=folder)

    party = Party(
        name=name,
        role="client" if name in task.private else "server",
        learner=reopen(saved / MODEL if saved else None),
        # What the others hold privately is not even in this party's memory, nor which gold answers are wrong.
        task=dataclasses.replace(_asked(config, task), private={}, noisy=frozenset()),
        private=task.private.get(name, ()),
        allocator=config.make(ALLOCATORS, name),
        objective=config.make(OBJECTIVES, name),
        signals=signals(config, name),
        hooks=tuple(config.make_all(HOOKS, name).items()),
        fuser=(config.choice(FUSERS).name, config.make(FUSERS)),
        studies=studies,
        seed=config.seed,
        rounds=config.rounds,
        folder=place.party(name),
        emit=emit,
        clock=since(place.started),
        journal=place.journal(name),
        common=SharedCache(place.common) if place.common else None,
        reopen=reopen,
        untrained=lambda: reopen(None),
        codecs=Codecs(config.make_all(CODECS)),
        limits=config.limits,
    )
    if saved:
        _restore(party, saved)
        restore_pool(party)
    if fault:
        party.note(notices=(f"the newest checkpoint of {name} is unusable ({fault}); the previous one is used",))
    return party


def _asked(config: RunConfig, task: TaskData) -> TaskData:
    """Return the task as all parties begin with it: with the host's prompts, and samples held out for validation."""
    asked = task.asked(config.make(HOSTS).ask(task.public))
    augmenter = config.make_augmenter()
    return asked.holding_out(augmenter[1].held_out, config.seed) if augmenter else asked


def signals(config: RunConfig, name: str) -> dict[str, SignalSpec | None]:
    """Return what the students of a party ask it for, by name: clients ask the server, and the server asks each
    client."""
    server = config.server.name
    students = [client.name for client in config.clients] if name == server else [server]
    return {student: config.make(OBJECTIVES, student).needs.signal for student in students}


def let_go(party: Party) -> None:
    """End the processes of a party's learner: ranks of its studies, a server for its answers."""
    party.learner.close()


def check_owner(saved: Path, name: str) -> None:
    """Raise LadaError if a checkpoint belongs to another party, for example after a restore into the wrong folder."""
    file = saved / OWNER
    if file.exists() and (owner := file.read_bytes()) != name.encode():
        raise LadaError(
            f"checkpoint {str(saved)!r}: it belongs to {owner.decode(errors='replace')!r}, not to {name!r}; put "
            "each back into its own folder"
        )


def _restore(party: Party, saved: Path) -> None:
    """Restore what `keep` wrote in addition to the learner. Raises LadaError for another party's checkpoint."""
    check_owner(saved, party.name)
    for key, array in bytes_to_arrays((saved / STATE).read_bytes()).items():
        pair, _, part = key.partition("|")
        if pair == "memory":
            party.memory[part] = array.tobytes()
        else:
            party.states[pair] = {**party.states.get(pair, {}), part: array}
    if (saved / STEPS).exists():  # a checkpoint of version 0.1 has none
        party.steps.update(json.loads((saved / STEPS).read_bytes()))
    rest = PartyReport.model_validate_json((saved / REPORT).read_bytes())
    party.noted.add({name: getattr(rest, name) for name in PartyReport.model_fields})


def keep(party: Party, place: Place, more: Mapping[str, bytes], report: PartyReport | None = None) -> None:
    """Write a party's checkpoint: learner, plug-ins' states, unreported measurements, and `more` files by name.

    `report` holds the rows that are stored nowhere else; None: all rows. A learner that a study left in the journal is
    linked from there, so it is written only once. A learner behind an API has nothing to keep.
    """
    report = party.report if report is None else report
    arrays = {f"{pair}|{part}": array for pair, state in party.states.items() for part, array in state.items()}
    arrays |= {f"memory|{key}": np.frombuffer(data, np.uint8) for key, data in party.memory.items()}
    small = {STATE: arrays_to_bytes(arrays), REPORT: report.model_dump_json().encode(), **more}
    small[OWNER] = party.name.encode()
    small[STEPS] = json.dumps(party.steps).encode()

    def fill(folder: Path) -> Mapping[str, str]:
        journal, known = party.journal, None
        if party.saved_as and isinstance(journal, Journal):
            known = checkpoints.link(journal.folder(party.saved_as), MODEL, folder)
        if known is None:
            party.learner.save(folder / MODEL)
        return {**(known or {}), **(checkpoints.files(small)(folder) or {})}

    checkpoints.save(place.checkpoint(party.name), fill)
    party.saved_as = ""  # two checkpoints have separate files, so damage to one leaves the other


def rounds_done(server: str, place: Place) -> int:
    """Return the last finished round of the server's checkpoint; -1 if not even round 0 is over."""
    return _number(server, place, ROUNDS_DONE, -1)


def crossed(server: str, place: Place) -> int:
    """Return how many rows the ledger had after that round."""
    return _number(server, place, CROSSED, 0)


def rounds_noted(server: str, place: Place) -> RoundsNoted:
    """Return the server's records of the finished rounds of its checkpoint."""
    file = _file(server, place, DIGESTS)
    return (
        RoundsNoted(place.noted) if file is None or not file.exists() else RoundsNoted(place.noted, file.read_bytes())
    )


def _number(server: str, place: Place, name: str, default: int) -> int:
    """Return a number in the server's checkpoint; `default` without a checkpoint."""
    file = _file(server, place, name)
    if file is None:
        return default
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LadaError(f"{str(file)!r} holds no number; restore it from a copy, or begin a new run") from error


def _file(server: str, place: Place, name: str) -> Path | None:
    """Return the path of a file of the server's checkpoint; None without a checkpoint."""
    kept = place.checkpoint(server)
    return checkpoints.find(kept, NEEDED)[0] / name if checkpoints.exists(kept) else None


def describe(party: Party) -> PartyInfo:
    """Describe a party and its current model."""
    domains = party.task.own_domains.get(party.name, frozenset())
    inside = party.learner.inside()
    return PartyInfo(
        name=party.name,
        role=party.role,
        model=_name(party.learner.name),
        architecture=inside.architecture,
        parameters=inside.parameters,
        domains=tuple(sorted(domains)),
        private_samples=len(party.private),
        weights=inside.weights,
    )


def _name(model: str) -> str:
    """Return the display name of a model. For a folder, this is its last part, since the rest may reveal its owner."""
    return Path(model).resolve().name if is_folder(model) else model


def notices_before(config: RunConfig) -> tuple[str, ...]:
    """Return notices for the user before a run starts."""
    notices = []
    if config.server_only_teaches:
        notices.append(
            f"{config.server.name} is behind an API and cannot study: SLM→LLM is switched off, it only teaches"
        )
    host, named = config.make(HOSTS), config.choice(HOSTS).name
    if host.needs.pools_private:
        notices.append(
            f"host {named!r} is no federation: the private samples of every client leave it and are "
            "studied by all; use it only as a bound for comparison"
        )
    chosen = any(step.samples == "lessons" for step in host.plan(1, config.make(OBJECTIVES)))
    allocator = config.choice(ALLOCATORS).name
    usual = host_default(host.bare, POINTS[ALLOCATORS.kind])
    if not chosen and (usual is None or allocator != usual.name):
        notices.append(f"host {named!r} has no lessons for an allocator to choose: {allocator!r} has no effect")
    return tuple(notices)


def notices_after(party: Party) -> tuple[str, ...]:
    """Return notices for the user about the server after a run."""
    spent = party.learner.spent
    return (f"{party.name} took {spent}",) if spent else ()
