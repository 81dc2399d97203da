"""A client's own configuration, `client.yaml`: what it brings to a run, and what it allows a server to ask for."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError, create_model

from lada.choosing import choosing, of_a_party
from lada.config import ClientConfig, RunConfig, ServerConfig
from lada.core.bounds import Rounds, Seconds
from lada.core.errors import FederationError, InputError
from lada.core.limits import Limits
from lada.core.names import Name
from lada.core.paths import is_file
from lada.core.plural import counted
from lada.core.registry import Options
from lada.core.validation import validate
from lada.engines.identity import seal_of
from lada.federation.terms import Own, Terms
from lada.learners.base import ClientModel
from lada.models.base import Study
from lada.models.options import ModelOptions
from lada.points import BY_PARTY, chosen_points
from lada.privacy.options import Blur, Redaction, Withholding
from lada.rounds.options import SelfContext
from lada.tasks.options import FilesTask, TaskOptions

ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
ELSEWHERE = ModelOptions(model="elsewhere")
"""A placeholder for the server's model, which a client does not know."""
L = TypeVar("L", bound=Limits)
Names = Annotated[tuple[str, ...], Field(strict=False)]


def _limited(limits: type[L]) -> type[L]:
    """Class decorator: give a client's limits a list of names for each kind of method that the server chooses."""
    kinds: dict[str, list[str]] = {}
    for point in chosen_points():
        if point.agreed:
            kinds.setdefault(point.limit, []).append(f"{point.kind}s")
    names: Any = Names
    fields: dict[str, Any] = {
        key: (names | None, Field(None, description=f"The {' and '.join(of)} that it works with."))
        for key, of in kinds.items()
    }
    name, module, doc = limits.__name__, limits.__module__, limits.__doc__
    return create_model(name, __base__=limits, __module__=module, __doc__=doc, **fields)


@_limited
class ClientLimits(Limits):
    """What a client allows a server to ask for, in addition to the limits of a message; None: no limit.

    The names of methods are listed by key, such as `hosts: [fedmkt]`.
    """

    rounds: Rounds | None = None
    seconds: Seconds | None = None
    """The longest time that the client works on one message, seconds; then it gives up."""


@choosing((point for point in BY_PARTY if point.side == "client"), of_a_party)
class ClientFile(Options):
    """A client of a federation. Relative paths start at the file's folder."""

    name: Name
    superlink: str
    """The server's address, as `host:port`."""
    certificate: str = "ca.crt"
    """The certificate of the authority that signed the server's."""
    key: str = "client.key"
    """The client's private key; the server has the public one."""
    identity: str = "identity.pub"
    """The server's public key, with which the client recognises the server's messages."""
    model: ClientModel
    private: Study = Study()
    distil: Study = Study()
    self_context: SelfContext | None = None
    """How the client teaches itself on its private questions; None: it studies their gold texts."""
    rehearse: float = Field(default=0.0, ge=0, lt=1)
    """Share of general questions among the lessons of its private studies."""
    task: TaskOptions
    """The client's data. With the task `files`, `train` holds only the client's own samples."""
    redact: Redaction | None = None
    """What is removed from the client's paths before they leave it."""
    blur: Blur | None = None
    """How the losses that leave the client are made inexact."""
    withhold: Withholding | None = Withholding()
    """Which passages of its private samples must not leave in any text that its model writes; None: no such filter."""
    state: str = "state"
    """The folder for checkpoints, journals and logs."""
    threads: int = Field(1, ge=1, le=65_536)
    """The number of CPU threads. With 1, the numbers equal those of a local run, bit for bit."""
    limits: ClientLimits = ClientLimits()


def read_client(file: Path) -> ClientFile:
    """Read a client's file. Raises InputError if it, or a file that it names, is wrong."""
    client: ClientFile = validate(ClientFile, _read(file))
    split_address(client.superlink)
    if isinstance(client.task, FilesTask) and (client.task.train is None or client.task.test is None):
        key = "train" if client.task.train is None else "test"
        raise InputError(f"task.{key}: missing; a client needs its own training file and the test file that all have")
    for key in ("certificate", "key"):
        path = file.parent / getattr(client, key)
        if not is_file(path):
            raise InputError(f"{key}: there is no file {str(path)!r}; `lada federation init` writes one")
    if not is_file(file.parent / client.identity):
        raise InputError(
            f"identity: there is no file {str(file.parent / client.identity)!r}; get it from the server's operator, "
            "who makes it with `lada federation init`, or with `lada federation renew` for files that are older"
        )
    private = file.parent / client.key
    if private.stat().st_mode & 0o077:
        raise InputError(f"key: others may read {str(private)!r}; run: chmod 600 {private}")
    seal_of(private, file.parent / client.identity, client.name)
    return client


def _read(file: Path) -> Any:
    if not is_file(file):
        raise InputError(f"there is no file {str(file)!r}; give the client.yaml that `lada federation init` wrote")
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} is not valid YAML: {error}") from None


def split_address(address: str) -> tuple[str, int]:
    """Return host, without brackets, and port. Raises InputError for anything else than `host:port`."""
    found = ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise InputError(f"superlink: {address!r} is not valid; expected host:port, such as fed.example.org:9092")
    return found["host"].strip("[]"), int(found["port"])


def merge_terms(client: ClientFile, terms: Terms) -> RunConfig:
    """Return the run as this client sees it. Raises FederationError for terms that it does not accept.

    A client with data files of its own is the only client of the returned run, and no data is split. Data from a common
    source, such as `rulebooks`, is drawn for all clients, so that each gets the part meant for it.
    """
    _check(client, terms)
    brought = {key: getattr(client, key) for key in ClientFile.model_fields.keys() & ClientConfig.model_fields.keys()}
    told = {member.name: Own.of(member) for member in terms.clients}
    own = ClientConfig(**brought, **told[client.name])
    if isinstance(client.task, FilesTask):
        clients = (own,)
    else:
        clients = tuple(
            (own if member.name == client.name else ClientConfig(name=member.name, **told[member.name])).model_copy(
                update={"domains": member.domains}
            )
            for member in terms.clients
        )
    config = RunConfig(
        name=terms.run,
        seed=terms.seed,
        rounds=terms.rounds,
        task=client.task,
        server=ServerConfig(name=terms.server, model=ELSEWHERE, **Own.of(terms.server_own)),
        clients=clients,
        engine="deployment",
        limits=Limits(**client.limits.model_dump(include=set(Limits.model_fields))),
        **terms.methods,
    )
    return config.resolved()


def _check(client: ClientFile, terms: Terms) -> None:
    """Refuse terms that the client's limits do not allow, naming the limit."""
    if client.name not in {member.name for member in terms.clients}:
        raise FederationError(f"terms: the run is not for {client.name!r}; ask the server's operator to list that name")
    limits = client.limits
    try:
        asked = list(terms.asked_of(client.name))
    except ValidationError as error:  # such as options of a sum that hide its parts
        raise FederationError(
            f"terms: they name a method with impossible options; do both sides run the same version? {error}"
        ) from None
    for point, name in asked:
        allowed = getattr(limits, point.limit)
        if allowed is not None and name not in allowed:
            raise FederationError(
                f"terms: the server asks for {point.kind} {name!r}, and limits.{point.limit} allows "
                f"{', '.join(allowed) or 'none'}; add it there if you agree"
            )
    if limits.rounds is not None and terms.rounds > limits.rounds:
        raise FederationError(
            f"terms: the server asks for {counted(terms.rounds, 'round')}, and limits.rounds is {limits.rounds}; "
            f"raise it if you "
            "agree"
        )
