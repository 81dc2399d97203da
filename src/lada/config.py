"""The configuration of a run: strict, complete, and refused before anything is trained where it makes no sense."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lada.allocators.base import ALLOCATORS, Allocator
from lada.codecs.base import CODECS, Codecs
from lada.core.bounds import Parties, Rounds, Seconds, Seed
from lada.core.errors import InputError
from lada.core.limits import Limits
from lada.core.names import Name, fault, same_folder
from lada.core.paths import is_file
from lada.core.registry import Method, Options, Registry
from lada.core.seeds import generator
from lada.core.terms import Verb
from lada.hosts.base import HOSTS, Host
from lada.models.api_options import ApiModel
from lada.models.base import Studies, Study
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.models.training import Optimisation
from lada.objectives.base import OBJECTIVES
from lada.overrides import apply_override, plain
from lada.privacy.conflicts import check_blur, check_dp, check_pooling
from lada.privacy.options import Blur, Redaction, Withholding
from lada.tasks.options import BuiltinTask, FilesTask, TaskOptions
from lada.trackers.base import TRACKERS, Tracker
from lada.validation import validate

LEDGER_NAME = "server"
"""What the ledger calls the server, whatever its name."""


class Choice(Options):
    """A method by name, with its options: `{name: lada, options: {budget: 400}}`, or just the name."""

    name: str
    """The method's registered name; `lada methods` lists them."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its options; those left out have their defaults."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


LADA_ALLOCATOR = Choice(name="lada", options={"threshold": 0.6})
"""LaDa's filter under `plugin: lada`. What is nothing new, or right by luck, has a score of 0.5 by the prior; the
threshold lies as far above that as the networks may err; see results/search."""
LADA_OBJECTIVE = Choice(name="contrastive", options={"weight": 0.0})
"""LaDa's objective under `plugin: lada`: the path whose answer is verified, by its likelihood alone. Weight 0.1 costs
the clients 16 points at equal tokens; see results/search."""


def _form(value: Any) -> str:
    """Return which form of a server's model a value has."""
    remote = "api" in value if isinstance(value, Mapping) else isinstance(value, ApiModel)
    return "ApiModel" if remote else "ModelOptions"


ServerModel = Annotated[
    Annotated[ModelOptions, Tag("ModelOptions")] | Annotated[ApiModel, Tag("ApiModel")], Discriminator(_form)
]
"""A model in Hugging Face format, or `{api: …}` for one behind an API; each form's faults are told for itself."""


class ServerConfig(Options):
    """The server: its LLM and how long it studies what it gets from clients."""

    name: Name = "llm"
    """What results and report call the server."""
    model: ServerModel
    """Its LLM."""
    distil: Study = Study(steps=300, optimisation=Optimisation(learning_rate=1e-3))
    """How long it studies what it gets from clients, per round."""


class ClientConfig(Options):
    """One client: its SLM and how long it studies its own data and what it gets from the server."""

    name: Name
    """What results, report and `--set` call the client."""
    model: ModelOptions | None = None
    """Its SLM; None only with `engine: deployment`, where each client brings its own."""
    domains: tuple[str, ...] = ()
    """Domains of its private data; empty: dealt out by the task."""
    private: Study = Study()
    """How long it studies its private data, per round."""
    distil: Study = Study()
    """How long it studies what it gets from the server, per round."""
    count: Parties = 1
    """How many clients of this kind: beyond one, `phone` with count 20 stands for phone-01 to phone-20."""
    redact: Redaction | None = None
    """What is taken out of the paths it sends: personal data by kind, and what the user's own patterns match."""
    blur: Blur | None = None
    """How the losses it sends are rounded and noised."""
    withhold: Withholding | None = Withholding()
    """Which passages of its private samples stand in nothing that its model writes and that leaves it; None: all may.
    Of no effect where `private` has `dp`, whose account would not cover what is withheld."""
    timeout: Seconds | None = None
    """Seconds this client may take for one phase; None: the run's `timeout`."""

    @property
    def guard(self) -> Withholding | None:
        """`withhold`, where it is in effect."""
        return None if self.private.dp else self.withhold

    def held_back(self) -> tuple[str, ...]:
        """Return the keys of what it holds back of what it sends."""
        means = {
            "redact": self.redact,
            "blur": self.blur,
            "private.dp": self.private.dp,
            "distil.dp": self.distil.dp,
        }
        return tuple(f"clients.{self.name}.{key}" for key, value in means.items() if value is not None)

    def each(self) -> "tuple[ClientConfig, ...]":
        """Return the `count` clients that this one stands for."""
        if self.count == 1:
            return (self,)
        width = len(str(self.count))
        return tuple(
            self.model_copy(update={"name": f"{self.name}-{number:0{width}}", "count": 1})
            for number in range(1, self.count + 1)
        )


class RunConfig(Options):
    """A whole run."""

    name: Name = "run"
    """Name of the run's folder."""
    seed: Seed = 0
    """The run's seed: the same seed gives the same results. 0 to 2**63 - 1."""
    rounds: Rounds = 2
    """Rounds of exchange; 0 evaluates the models as they are."""
    task: TaskOptions = BuiltinTask()
    """Where the questions come from."""
    server: ServerConfig
    """The one server with the LLM."""
    clients: tuple[ClientConfig, ...]
    """The clients, at least one."""
    host: Choice = Choice(name="fedmkt")
    """The framework of collaboration: what happens in a round."""
    plugin: Literal["lada", "none"] = "lada"
    """Shorthand for allocator and objective: `lada` is both of LaDa's, `none` what the bare host comes with (for fedmkt
    that is knowledge of labels too). An allocator, objective or host option that is named beside it goes before it."""
    allocator: Choice | None = None
    """Which public samples a student studies, per pair and direction; None: what `plugin` says."""
    objective: Choice | None = None
    """The loss that a lesson gives; None: what `plugin` says."""
    engine: Literal["local", "simulation", "deployment"] = "local"
    """Where the clients are: on this machine in worker processes, in Flower's simulation as Ray actors (extra
    `simulation`), or on their own machines (see docs/deployment.md). Equal numbers, whichever it is."""
    workers: int | None = Field(default=None, ge=0, le=65_536)
    """Processes in which clients work in parallel; None: one per core; 0: one client after another (in a simulation:
    one actor). With `engine: deployment` it plays no part."""
    timeout: Seconds = 3600.0
    """Seconds a client may take for one phase. The reply of one that took longer is not looked at; it is asked again
    in the next round."""
    quorum: float | None = Field(default=None, gt=0, le=1)
    """Share of the clients asked that must answer a phase; with fewer the run stops, with them it goes on without the
    others, who are named in the results. None: all (1.0) on one machine, where a client that fails is a fault to mend,
    and half (0.5) with `engine: deployment`, where machines come and go."""
    participants: Parties | None = None
    """Clients that take part in a round, drawn anew for each; None: all. Who is never drawn is not evaluated."""
    limits: Limits = Limits()
    """What a message may hold at most."""
    codecs: tuple[Choice, ...] = ()
    """How parts of messages become bytes where not as usual, by name; at most one for each kind of part. All parties
    of a run have the same."""
    trackers: tuple[Choice, ...] = ()
    """Where figures go beside the run's folder, by name: tensorboard, trackio, wandb, mlflow."""

    @field_validator("trackers", "codecs")
    @classmethod
    def _each_once(cls, chosen: tuple[Choice, ...]) -> tuple[Choice, ...]:
        names = [choice.name for choice in chosen]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is named twice; name each once")
        return chosen

    keep_messages: bool = False
    """Each client keeps a copy of all it sends, in `clients/<name>/sent`, which `lada audit` searches. It takes as much
    disk as the client sends bytes."""
    membership_audit: bool = False
    """After the last round each client attacks its own model, to see how well that tells what it studied; the outcome,
    in numbers, is told."""

    @field_validator("clients")
    @classmethod
    def _clients(cls, clients: tuple[ClientConfig, ...]) -> tuple[ClientConfig, ...]:
        if not clients:
            raise ValueError("there is no client; expected at least one")
        clients = tuple(each for client in clients for each in client.each())
        names = [client.name for client in clients]
        if told := next(filter(None, map(fault, names)), None):
            raise ValueError(told)  # a name that `count` made
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two share the name {twice[0]!r}; give each its own")
        if pair := same_folder(names):
            raise ValueError(
                f"{pair[0]!r} and {pair[1]!r} differ in case alone, which some disks do not tell; rename one"
            )
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
        only = "only with engine: deployment, where each client has its own, may it be left out"
        if without := [client.name for client in self.clients if client.model is None]:
            raise ValueError(f"clients.{without[0]}.model: missing; {only}")
        if isinstance(self.task, FilesTask) and self.task.train is None:
            raise ValueError(f"task.train: missing; {only}")
        return self

    def resolved(self) -> "RunConfig":
        """Return the configuration with plugin and every method option spelled out; InputError where one is wrong."""
        lada = self.plugin == "lada"
        host = _with_defaults("host", HOSTS, self.host)
        allocator = self.allocator and _with_defaults("allocator", ALLOCATORS, self.allocator)
        objective = self.objective and _with_defaults("objective", OBJECTIVES, self.objective)
        codecs = tuple(_with_defaults(f"codecs.{each.name}", CODECS, each) for each in self.codecs)
        trackers = tuple(_with_defaults(f"trackers.{each.name}", TRACKERS, each) for each in self.trackers)
        bare = _make(HOSTS, host).bare  # last, since a host brings along what a round needs
        if not lada:
            host = _with_defaults("host", HOSTS, Choice(name=host.name, options={**bare.options, **self.host.options}))
        if self.server_only_teaches and "directions" in host.options and "directions" not in self.host.options:
            host = Choice(name=host.name, options={**host.options, "directions": "llm_to_slm"})
        if allocator is None:
            default = LADA_ALLOCATOR if lada else Choice(name=bare.allocator)
            allocator = _with_defaults("allocator", ALLOCATORS, default)
        if objective is None:
            default = LADA_OBJECTIVE if lada else Choice(name=bare.objective, options=dict(bare.objective_options))
            objective = _with_defaults("objective", OBJECTIVES, default)
        resolved = self.model_copy(
            update={
                "quorum": self.least_share,
                "host": host,
                "allocator": allocator,
                "objective": objective,
                "codecs": codecs,
                "trackers": trackers,
            }
        )
        resolved.make_codecs()  # which refuses two of one kind
        resolved._check_verbs()
        resolved._check_privacy()
        clients = {client.name: client.model for client in self.clients if client.model is not None}
        made = resolved.make_host()
        made.check(resolved.make_allocator(), clients)
        made.plan(1, resolved.make_objective())  # which refuses an objective that it cannot work with
        return resolved

    @property
    def least_share(self) -> float:
        """The share of the clients that must answer: `quorum`, or what the engine has for it."""
        if self.quorum is not None:
            return self.quorum
        return 0.5 if self.engine == "deployment" else 1.0

    @property
    def server_only_teaches(self) -> bool:
        """Whether the server's LLM is behind an API, so that nothing is taught to it."""
        return isinstance(self.server.model, ApiModel)

    def _check_verbs(self) -> None:
        """Refuse a method that needs of a learner what it cannot do, naming method, party and verb."""
        for kind in ("host", "allocator", "objective"):
            method = self.method(kind)
            for party, model, needs in self._roles(method):
                lacking = sorted(needs - learner_verbs(model))
                if lacking:
                    raise InputError(
                        f"{kind} {method.name!r} needs a learner that can {', '.join(lacking)}, but that of {party!r} "
                        f"cannot ({_limited_by(model)}); choose another method, another model, or directions: "
                        "llm_to_slm for a server that only teaches"
                    )

    def _check_privacy(self) -> None:
        """Refuse what would let out by one way what is held back on another."""
        soft = self.make_objective().soft is not None
        if self.server.distil.dp:
            raise InputError("server.distil.dp: the server has no private samples; expected dp at clients alone")
        for client in self.clients:
            check_blur(client.name, client.blur, self.method("objective").name, soft=soft)
            check_dp(client.name, Studies(client.private, client.distil), self.host.options)
        if self.make_host().pools_private:
            check_pooling(self.host.name, self.engine, [key for client in self.clients for key in client.held_back()])

    def _roles(self, method: Method[Any]) -> Iterator[tuple[str, ModelOptions | ApiModel, frozenset[Verb]]]:
        """Yield each party, its model and what the roles that it has need: teacher, student or both."""
        both = self.host.options.get("directions", "both") != "llm_to_slm"  # clients study own data whoever teaches
        judges = {Verb.JUDGE} if self.host.options.get("knowledge") == "labels" else set()
        teacher = method.default_needs.teacher | judges
        everything = teacher | method.default_needs.student
        yield self.server.name, self.server.model, everything if both else teacher
        for client in self.clients:
            if client.model is not None:
                yield client.name, client.model, everything if both else method.default_needs.student

    def drawn(self, round: int) -> tuple[str, ...]:
        """Return the clients that take part in a round, sorted; for round 0 those of all rounds (of one at least)."""
        names = sorted(client.name for client in self.clients)
        if self.participants is None or self.participants >= len(names):
            return tuple(names)
        if round == 0:
            return tuple(sorted({name for later in range(1, max(self.rounds, 1) + 1) for name in self.drawn(later)}))
        chosen = generator(self.seed, round, "participants").choice(len(names), self.participants, replace=False)
        return tuple(names[place] for place in sorted(chosen))

    def method(self, kind: Literal["host", "allocator", "objective"]) -> Method[Any]:
        """Return the registered method of a kind that this (resolved) configuration names."""
        registry: Registry[Any] = {"host": HOSTS, "allocator": ALLOCATORS, "objective": OBJECTIVES}[kind]
        return registry.get(getattr(self, kind).name)

    def make_host(self) -> Host:
        """Build the host of a resolved configuration."""
        return _make(HOSTS, self.host)

    def make_allocator(self) -> Allocator:
        """Build the allocator of a resolved configuration."""
        assert self.allocator is not None
        return _make(ALLOCATORS, self.allocator)

    def make_objective(self) -> Objective:
        """Build the objective of a resolved configuration."""
        assert self.objective is not None
        return _make(OBJECTIVES, self.objective)

    def make_codecs(self) -> Codecs:
        """Build the codecs of a resolved configuration."""
        return Codecs({codec.name: _make(CODECS, codec) for codec in self.codecs})

    def make_trackers(self) -> dict[str, Tracker]:
        """Build the trackers of a resolved configuration, by name; InputError where a package or a key is missing."""
        return {tracker.name: _make(TRACKERS, tracker) for tracker in self.trackers}


def learner_verbs(model: ModelOptions | ApiModel) -> frozenset[Verb]:
    """Return what the learner behind a model's options can do: all that it may, since a Hugging Face model can all."""
    if isinstance(model, ApiModel):
        return model.api.verbs
    return frozenset(Verb) if model.verbs is None else frozenset(model.verbs)


def _limited_by(model: ModelOptions | ApiModel) -> str:
    """Return the keys that say what a learner can do."""
    if isinstance(model, ModelOptions):
        return "model.verbs"
    more = {Verb.CONFIDENCE: "log_probs: true", Verb.JUDGE: "scores", Verb.LOG_PROBS: "scores and a tokenizer"}
    hints = [f"with {option} it has {verb}" for verb, option in more.items() if verb not in model.api.verbs]
    return "; ".join(["model.api", *hints])


def _make(registry: Registry[Any], choice: Choice) -> Any:
    method = registry.get(choice.name)
    return method.make(method.options.model_validate_json(json.dumps(choice.options)))


def _with_defaults(kind: str, registry: Registry[Any], choice: Choice) -> Choice:
    method = registry.get(choice.name)
    options = validate(method.options, choice.options, f"{kind}.options")
    return Choice(name=choice.name, options=options.model_dump(mode="json"))


def read_config(file: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a YAML or JSON file and apply `key.path=value` overrides; values are YAML. InputError names any fault."""
    if not is_file(file):
        raise InputError(f"configuration: file {str(file)!r} does not exist; give the path of a YAML file")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"configuration: {str(file)!r} is not valid YAML: {error}") from None
    return make_config(data, overrides)


class Opened(NamedTuple):
    """A resolved configuration, and the folder that relative paths in it start at."""

    config: RunConfig
    base: Path


Source = Opened | RunConfig | Mapping[str, Any] | str | Path
"""Whatever a configuration may be given as."""


def open_config(config: Source, overrides: tuple[str, ...] = ()) -> Opened:
    """Return a resolved configuration from whatever form it has; one that is opened already is returned as it is.

    Relative paths start at the folder of a file, else at the working directory. InputError names any fault.
    """
    if isinstance(config, Opened):
        return config
    if isinstance(config, (str, Path)):
        return Opened(read_config(Path(config), overrides), Path(config).resolve().parent)
    if isinstance(config, RunConfig):
        config = config.model_dump(mode="json")
    return Opened(make_config(config, overrides), Path.cwd())


def make_config(data: Any, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Build a resolved configuration from plain data and overrides; InputError names any fault."""
    if not isinstance(data, Mapping):
        raise InputError(f"configuration: it is {data!r}; expected a mapping of keys to values")
    data = plain(data)
    for override in overrides:
        apply_override(data, override)
    return validate(RunConfig, data).resolved()


def make_tracker(name: str, overrides: tuple[str, ...] = ()) -> Tracker:
    """Build a tracker from `option=value` strings; InputError names any fault, or the package that is missing."""
    options: dict[str, Any] = {}
    for override in overrides:
        apply_override(options, override)
    return _make(TRACKERS, _with_defaults(f"trackers.{name}", TRACKERS, Choice(name=name, options=options)))


def full_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration, with every method's options under `x-methods`."""
    schema = RunConfig.model_json_schema()
    schema["x-methods"] = {
        registry.kind: {method.name: method.options.model_json_schema() for method in registry}
        for registry in (HOSTS, ALLOCATORS, OBJECTIVES, CODECS, TRACKERS)
    }
    return schema
