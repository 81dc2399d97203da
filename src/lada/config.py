"""The configuration of a run: strict, complete, and checked before any training."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from lada.allocators.base import ALLOCATORS
from lada.augmenters.base import AUGMENTERS, Augmenter
from lada.choosing import choosing, host_default, of_a_party, of_the_run, spelled_out
from lada.codecs.base import CODECS, Codecs
from lada.core.bounds import Parties, Rounds, Seconds, Seed, Temperature
from lada.core.choice import MethodChoice, listed
from lada.core.errors import InputError, of_party
from lada.core.limits import Limits
from lada.core.names import Name, fault, same_folder
from lada.core.registry import Method, Options, Registry
from lada.core.seeds import generator
from lada.core.validation import validate
from lada.fusers.base import FUSERS
from lada.hooks.base import HOOKS
from lada.hosts.base import HOSTS, Host
from lada.learners.base import LEARNERS, ClientModel, OtherModel, ServerModel
from lada.models.base import Studies, Study, check_possible, check_tried, check_watched
from lada.models.options import ModelOptions
from lada.models.training import Optimisation
from lada.objectives.base import OBJECTIVES
from lada.overrides import apply_override, plain
from lada.points import BY_PARTY, POINTS, Point, chosen_points
from lada.policies.base import POLICIES, Policy
from lada.presets import PRESETS
from lada.privacy.conflicts import check_dp, check_losses, check_pooling, check_scores
from lada.privacy.options import Blur, Redaction, Withholding
from lada.refusals import Chosen, Seat, check_labels, check_rehearsal, check_self_context, check_texts, check_verbs
from lada.rounds.options import AveragingOptions, SelfContext, check_sparse
from lada.tasks.options import BuiltinTask, FilesTask, TaskOptions

T = TypeVar("T")
P = TypeVar("P", "ServerConfig", "ClientConfig")


def _greedy(temperature: float) -> bool:
    return not temperature


LEDGER_NAME = "server"
"""The server's name in the ledger, whatever its own name is."""


@choosing((point for point in BY_PARTY if point.side != "client"), of_a_party)
class ServerConfig(Options):
    """The server: its LLM and how it studies what clients send."""

    name: Name = "llm"
    """The server's name in results and report."""
    model: ServerModel
    """The server's LLM."""
    distil: Study = Study(steps=300, optimisation=Optimisation(learning_rate=1e-3))
    """How long the server studies what clients send, per round."""
    temperature: Temperature = Field(default=0.0, exclude_if=_greedy)
    """Sampling temperature of the paths that the LLM teaches; 0 decodes greedily. Test questions are always answered
    greedily. `model.generation` sets top-p and top-k."""


@choosing((point for point in BY_PARTY if point.side != "server"), of_a_party)
class ClientConfig(Options):
    """One client: its SLM and how it studies its own data and what the server sends."""

    name: Name
    """The client's name in results, report and `--set`."""
    model: ClientModel | None = None
    """The client's SLM. It may be None only with `engine: deployment`, where each client brings its own."""
    domains: tuple[str, ...] = ()
    """Domains of the client's private data. If empty, the task assigns them."""
    private: Study = Study()
    """How long the client studies its private data, per round."""
    distil: Study = Study()
    """How long the client studies what the server sends, per round."""
    self_context: SelfContext | None = Field(default=None, exclude_if=operator.not_)
    """Let the client teach itself on its private questions, with their gold rationales in view, instead of studying the
    gold texts. None studies these."""
    rehearse: float = Field(default=0.0, ge=0, lt=1, exclude_if=operator.not_)
    """Share of general questions among the lessons of a private study, from 0 to below 1: replay against forgetting.
    The host's `client_replay` does the same for what the server sends."""
    count: Parties = 1
    """Number of clients of this kind: `phone` with count 20 stands for phone-01 to phone-20."""
    redact: Redaction | None = None
    """What is removed from the paths that it sends: kinds of personal data, and matches of your own patterns."""
    blur: Blur | None = None
    """How the losses that the client sends are rounded and noised."""
    withhold: Withholding | None = Withholding()
    """Which passages of private samples the client's model must not reproduce in what it sends. None allows all. It has
    no effect if `private` has `dp`, whose privacy budget would not account for it."""
    timeout: Seconds | None = None
    """Seconds this client may take for one phase. None means the run's `timeout`."""

    @property
    def guard(self) -> Withholding | None:
        """`withhold`, if it is in effect."""
        return None if self.private.dp else self.withhold

    @property
    def keyed_policies(self) -> tuple[MethodChoice, ...]:
        """The client's policies that have keys of their own."""
        keys = {"redact": self.redact, "blur": self.blur}
        return tuple(
            MethodChoice(name=key, options=each.model_dump(mode="json"))
            for key, each in keys.items()
            if each is not None
        )

    def each(self) -> "tuple[ClientConfig, ...]":
        """Return the `count` clients that this one stands for."""
        if self.count == 1:
            return (self,)
        width = len(str(self.count))
        return tuple(
            self.model_copy(update={"name": f"{self.name}-{number:0{width}}", "count": 1})
            for number in range(1, self.count + 1)
        )


@choosing(chosen_points(), of_the_run)
class RunConfig(Options):
    """A whole run."""

    name: Name = "run"
    """Name of the run's folder."""
    seed: Seed = 0
    """Seed of the run, from 0 to 2**63 - 1. The same seed gives the same results."""
    rounds: Rounds = 2
    """Number of rounds. With 0, the models are only evaluated."""
    task: TaskOptions = BuiltinTask()
    """Which task supplies the questions."""
    server: ServerConfig
    """The server with its LLM."""
    clients: tuple[ClientConfig, ...]
    """The clients, at least one."""
    plugin: Literal["lada", "none"] = "lada"
    """Shorthand for allocator and objective: `lada` selects LaDa's, `none` the bare host's. With `none`, fedmkt also
    exchanges labels. Any allocator, objective or host option that you set takes precedence."""
    engine: Literal["local", "simulation", "deployment"] = "local"
    """Where clients run: in worker processes on this machine, in Flower's simulation as Ray actors (extra
    `simulation`), or on their own machines (see docs/deployment.md). All three give the same numbers."""
    workers: int | None = Field(default=None, ge=0, le=65_536)
    """Number of processes that run clients in parallel. None means one per core. 0 runs one client after another (in a
    simulation: one actor). `engine: deployment` ignores it."""
    timeout: Seconds = 3600.0
    """Seconds a client may take for one phase. A late reply is ignored; the next round asks the client again."""
    quorum: float | None = Field(default=None, gt=0, le=1)
    """Share of the clients asked that must answer in each phase. With fewer, the run stops. Otherwise it continues, and
    the results name the missing clients. None means 1.0 on one machine and 0.5 with `engine: deployment`."""
    participants: Parties | None = None
    """Number of clients that take part in a round, drawn again each time. None means all. A client never drawn is not
    evaluated."""
    limits: Limits = Limits()
    """Upper limits on messages."""
    keep_messages: bool = False
    """Keep a copy of everything each client sends in `clients/<name>/sent`, for `lada audit`. This takes as much disk
    space as the client's traffic."""
    membership_audit: bool = False
    """After the last round, each client runs a membership inference attack on its own model and reports the result as
    numbers."""

    @field_validator("clients")
    @classmethod
    def _clients(cls, clients: tuple[ClientConfig, ...]) -> tuple[ClientConfig, ...]:
        if not clients:
            raise ValueError("there is no client; expected at least one")
        clients = tuple(each for client in clients for each in client.each())
        names = [client.name for client in clients]
        if told := next(filter(None, map(fault, names)), None):
            raise ValueError(told)  # a name that comes from `count`
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two share the name {twice[0]!r}; give each its own")
        if pair := same_folder(names):
            raise ValueError(f"{pair[0]!r} and {pair[1]!r} differ only in case, which some disks ignore; rename one")
        if any(name.lower() == LEDGER_NAME for name in names):
            raise ValueError(f"one is named {LEDGER_NAME!r}, as the ledger calls the server; choose another name")
        return clients

    @model_validator(mode="after")
    def _server_is_no_client(self) -> "RunConfig":
        if self.server.name.lower() in {client.name.lower() for client in self.clients}:
            raise ValueError(f"server.name: {self.server.name!r} is a client's name too; give each party its own")
        return self

    @model_validator(mode="after")
    def _only_a_deployment_leaves_things_to_the_clients(self) -> "RunConfig":
        if self.engine == "deployment":
            return self
        only = "only engine: deployment, where each client has its own, allows that"
        if without := [client.name for client in self.clients if client.model is None]:
            raise ValueError(f"clients.{without[0]}.model: missing; {only}")
        if isinstance(self.task, FilesTask) and self.task.train is None:
            raise ValueError(f"task.train: missing; {only}")
        return self

    def resolved(self) -> "RunConfig":
        """Return the configuration with plugin and method options filled in. Raises InputError for any fault."""
        server = _of_its_own(self.server, "server")
        clients = tuple(_of_its_own(client, f"clients.{client.name}") for client in self.clients)
        chosen = {point: _spelled_out(point, getattr(self, point.key)) for point in chosen_points()}
        host = POINTS[HOSTS.kind]
        (named,) = self._of(host)
        bare = HOSTS.make(named.name, chosen[host].options).bare  # last, since a host imports what a round needs
        options = dict(named.options)
        if self.server_only_teaches:
            options = {**bare.one_way, **options}
        if self.plugin not in PRESETS:
            options = {**bare.options, **options}
        chosen[host] = spelled_out(HOSTS, MethodChoice(name=named.name, options=options), host.key)
        preset = PRESETS.get(self.plugin, {})
        for point, choice in chosen.items():
            fallback = preset.get(point.kind) or host_default(bare, point)
            if choice is None and fallback:
                chosen[point] = spelled_out(point.registry, fallback, point.key)
        resolved = self.model_copy(
            update={
                "quorum": self.least_share,
                "server": server,
                "clients": clients,
                **{point.key: choice for point, choice in chosen.items()},
            }
        )
        Codecs(resolved.make_all(CODECS))  # which refuses two of one kind
        made = resolved.make_host()
        seats = [resolved._seat(party) for party in (resolved.server, *resolved.clients)]
        check_verbs(replace(seats[0], studies=made.server_studies), seats[1:])
        if self.engine != "deployment":  # in a deployment, no party knows the others' models
            check_labels(seats[0], seats[1:])
        resolved._check_studies()
        resolved._check_private_studies(made)
        resolved._check_privacy(made)
        resolved._check_codecs(made)
        resolved._check_hooks()
        models = {client.name: client.model for client in clients if client.model is not None}
        for name in ("", *resolved._differing(ALLOCATORS)):
            made.check(resolved.make(ALLOCATORS, name), models)
        for name in ("", *resolved._differing(OBJECTIVES)):
            if not made.judges_texts:
                check_texts(
                    resolved.choice(HOSTS).name,
                    resolved.choice(OBJECTIVES, name).name,
                    resolved.make(OBJECTIVES, name).needs,
                )
            made.plan(1, resolved.make(OBJECTIVES, name))  # which refuses an objective that it cannot work with
        resolved._check_allocators(made)
        if resolved.make(FUSERS).weighs and not made.averages:
            raise InputError(
                f"fuser: {resolved.choice(FUSERS).name!r} weighs distributions, but host "
                f"{resolved.choice(HOSTS).name!r} does not average any; expected host fedmd, or another fuser"
            )
        return resolved

    @property
    def least_share(self) -> float:
        """The share of the clients that must answer: `quorum`, or the engine's default."""
        if self.quorum is not None:
            return self.quorum
        return 0.5 if self.engine == "deployment" else 1.0

    @property
    def server_only_teaches(self) -> bool:
        """Whether the server's LLM is behind an API and therefore only teaches."""
        return self.server.model.remote

    def _check_hooks(self) -> None:
        """Refuse hooks that cannot do what they promise."""
        for party in (self.server, *self.clients):
            studies = [party.distil, *([party.private] if isinstance(party, ClientConfig) else [])]
            why = "a study with dp" if any(study.dp for study in studies) else ""
            if isinstance(party.model, ModelOptions) and party.model.parallel is not None:
                why = "model.parallel"
            for name, hook in self.make_all(HOOKS, party.name).items() if why else ():
                if hook.steers:
                    raise InputError(
                        f"hooks: {name!r} changes gradients, which {why} of {party.name!r} does not allow; expected "
                        "another hook, or none of that"
                    )

    def _check_privacy(self, host: Host) -> None:
        """Refuse a configuration that would leak by one route what it protects on another."""
        if self.server.distil.dp:
            raise InputError("server.distil.dp: the server has no private samples; expected dp only at clients")
        soft = self.make(OBJECTIVES, self.server.name).needs.signal is not None  # which determines what clients send
        name = self.choice(OBJECTIVES, self.server.name).name
        for client in self.clients:
            names = [each.name for each in self._policies(client)]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(
                    f"clients.{client.name}: policy {twice[0]!r} is named twice; name each once, by its key or among "
                    "policies"
                )
            for policy, made in self.make_policies(client.name):
                check_losses(client.name, policy, name, soft=soft and made.losses)
                check_scores(client.name, policy, name, idle=made.scores and not soft)
            replay = host.client_replay
            check_dp(client.name, Studies(client.private, client.distil), replay and replay.private)
        if host.needs.pools_private:
            check_pooling(self.choice(HOSTS).name, self.engine, self.held_back())

    def _check_codecs(self, host: Host) -> None:
        """Refuse a codec that leaves out what the host has to aggregate, or whose options name other clients."""
        for codec in self.make_all(CODECS).values():
            codec.check_clients([client.name for client in self.clients])
        sparse = {name: codec.kind for name, codec in self.make_all(CODECS).items() if codec.sparse}
        chosen = self.choice(HOSTS)
        options = HOSTS.get(chosen.name).read(chosen.options)
        if sparse and isinstance(options, AveragingOptions):
            sent = {kind for step in host.plan(1, self.make(OBJECTIVES)) for kind in step.sends}
            for name, kind in sparse.items():
                if kind in sent:
                    check_sparse(name, options)

    def _check_studies(self) -> None:
        """Refuse studies that a party's objective does not support."""
        parties = [("server", self.server), *((f"clients.{client.name}", client) for client in self.clients)]
        for owner, party in parties:
            objective = self.make(OBJECTIVES, party.name)
            parallel = party.model.parallel if isinstance(party.model, ModelOptions) else None
            with of_party(owner):
                processes = parallel.processes if parallel else 1
                check_possible(objective.title, objective.needs, party.distil, processes)

    def _check_private_studies(self, host: Host) -> None:
        """Refuse clients that cannot teach themselves, or cannot rehearse."""
        for client in self.clients:
            with of_party(f"clients.{client.name}"):
                if client.self_context is not None:
                    check_self_context(client.model, client.private, pooled=host.needs.pools_private)
                if client.rehearse:
                    check_rehearsal(client.private, pooled=host.needs.pools_private)

    def _check_allocators(self, host: Host) -> None:
        """Refuse studies that a party's allocator cannot observe or run trials with."""
        for party in (self.server, *self.clients):
            steps = host.plan(1, self.make(OBJECTIVES, party.name))
            side = "server" if party is self.server else "client"
            if not any(step.side == side and step.samples == "lessons" for step in steps):
                continue  # it chooses nothing
            name, asks = self.choice(ALLOCATORS, party.name).name, self.make(ALLOCATORS, party.name).needs
            parallel = party.model.parallel if isinstance(party.model, ModelOptions) else None
            with of_party("server" if side == "server" else f"clients.{party.name}"):
                if asks.lesson_losses:
                    check_watched(name, party.distil, parallel.processes if parallel else 1)
                if asks.tries:
                    check_tried(name, party.distil)

    def drawn(self, round: int) -> tuple[str, ...]:
        """Return the sorted clients that take part in a round; for round 0, those of all rounds (of at least one)."""
        names = sorted(client.name for client in self.clients)
        if self.participants is None or self.participants >= len(names):
            return tuple(names)
        if round == 0:
            return tuple(sorted({name for later in range(1, max(self.rounds, 1) + 1) for name in self.drawn(later)}))
        chosen = generator(self.seed, round, "participants").choice(len(names), self.participants, replace=False)
        return tuple(names[place] for place in sorted(chosen))

    def choices(self, registry: Registry[Any], party: str = "") -> tuple[MethodChoice, ...]:
        """Return the methods of one kind in a resolved configuration, for one party or for the run."""
        point = POINTS[registry.kind]
        return self._of(point, self._party(party) if point.by_party and party else None)

    def choice(self, registry: Registry[Any], party: str = "") -> MethodChoice:
        """Return the method of a kind that allows only one."""
        (choice,) = self.choices(registry, party)
        return choice

    def make(self, registry: Registry[T], party: str = "") -> T:
        """Build the method of a kind, for one party or for the run."""
        choice = self.choice(registry, party)
        return registry.make(choice.name, choice.options)

    def make_all(self, registry: Registry[T], party: str = "") -> dict[str, T]:
        """Build all methods of a kind, by name, in order. Raises InputError if a package or a key is missing."""
        return {each.name: registry.make(each.name, each.options) for each in self.choices(registry, party)}

    def make_augmenter(self) -> tuple[str, Augmenter[Any]] | None:
        """Build the augmenter, with its name; None if there is none."""
        return next(iter(self.make_all(AUGMENTERS).items()), None)

    def make_host(self) -> Host:
        """Build the host, with the steps of the augmenter if there is one."""
        host, augmenter = self.make(HOSTS), self.make_augmenter()
        if augmenter is None:
            return host
        from lada.hosts.augmented import Augmented  # here, since whoever reads a configuration has no use for it

        return Augmented(host, *augmenter)

    def make_policies(self, client: str) -> tuple[tuple[str, Policy], ...]:
        """Build the policies of a client, by name, in order."""
        return tuple(
            (each.name, POLICIES.make(each.name, each.options))
            for party in self.clients
            if party.name == client
            for each in self._policies(party)
        )

    def held_back(self) -> tuple[str, ...]:
        """Return the keys of the protections that clients apply to what they send."""
        key = POINTS[POLICIES.kind].key
        keys: list[str] = []
        for client in self.clients:
            means = [each.name for each in client.keyed_policies]
            means += [f"{key}.{each.name}" for each in self.choices(POLICIES, client.name)]
            means += [f"{study}.dp" for study in ("private", "distil") if getattr(client, study).dp is not None]
            keys += [f"clients.{client.name}.{each}" for each in means]
        return tuple(keys)

    def _policies(self, client: ClientConfig) -> tuple[MethodChoice, ...]:
        return (*client.keyed_policies, *self.choices(POLICIES, client.name))

    @property
    def methods_told(self) -> dict[str, str]:
        """The names of the run's methods by kind, for display, without those that only observe."""
        told = {point.kind: ", ".join(each.name for each in self._of(point)) for point in chosen_points()}
        return {kind: names for kind, names in told.items() if names and not POINTS[kind].observes}

    def _of(self, point: Point, party: "ServerConfig | ClientConfig | None" = None) -> tuple[MethodChoice, ...]:
        """Return what a party, or the run, has chosen at a point."""
        own = getattr(party, point.key, None)
        return listed(getattr(self, point.key) if own is None else own)

    def _party(self, name: str) -> "ServerConfig | ClientConfig":
        return next((client for client in self.clients if client.name == name), self.server)

    def _differing(self, registry: Registry[Any]) -> list[str]:
        """Return the parties whose method of a kind differs from the run's."""
        point = POINTS[registry.kind]
        parties = (self.server, *self.clients)
        return [party.name for party in parties if self._of(point, party) != self._of(point)]

    def _seat(self, party: "ServerConfig | ClientConfig") -> Seat:
        methods = {
            point.kind: [_needing(point.registry.get(each.name), each.options) for each in chosen]
            for point in chosen_points()
            if not point.observes and (chosen := self._of(point, party))
        }
        return Seat(party.name, party.model, methods)


def _needing(method: Method[Any], options: Mapping[str, Any]) -> Chosen:
    return Chosen(method.name, method.needs_of(options), partial(method.due_to, options))


def _spelled_out(point: Point, chosen: Any, where: str = "") -> Any:
    """Return what is chosen at a point with all options filled in: one method, several, or None."""
    key = f"{where}.{point.key}".lstrip(".")
    if point.several:
        return chosen and tuple(spelled_out(point.registry, each, f"{key}.{each.name}") for each in chosen)
    return chosen and spelled_out(point.registry, chosen, key)


def _of_its_own(party: P, where: str) -> P:
    """Return a party with the options of its own methods filled in."""
    own: dict[str, Any] = {point.key: _spelled_out(point, getattr(party, point.key, None), where) for point in BY_PARTY}
    if isinstance(party.model, OtherModel):
        options = spelled_out(LEARNERS, party.model.choice, f"{where}.model").options
        own["model"] = party.model.model_copy(update={"options": options})
    return party.model_copy(update={key: chosen for key, chosen in own.items() if chosen})


def make_config(data: Any, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Build a resolved configuration from plain data and overrides. Raises InputError for any fault."""
    if not isinstance(data, Mapping):
        raise InputError(f"configuration: it is {data!r}; expected a mapping of keys to values")
    data = plain(data)
    for override in overrides:
        apply_override(data, override)
    return validate(RunConfig, data).resolved()


def full_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration, with the options of all methods under `x-methods`."""
    schema = RunConfig.model_json_schema()
    schema["x-methods"] = {
        kind: {method.name: method.options.model_json_schema() for method in point.registry}
        for kind, point in POINTS.items()
    }
    return schema
