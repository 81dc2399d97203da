"""Makes the plan of a configuration, without reading weights or using a network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from lada.allocators.base import ALLOCATORS
from lada.codecs.base import CODECS, Codecs
from lada.config import ClientConfig, RunConfig, ServerConfig
from lada.config_source import Source, open_config
from lada.core.cores import cores
from lada.core.errors import InputError, of_party
from lada.core.needs import Needs
from lada.core.paths import is_folder
from lada.core.results import Traffic
from lada.core.terms import Verb
from lada.federation.parties import notices_before
from lada.learners.api import located
from lada.learners.base import OtherModel, opener
from lada.learners.classifiers import Network
from lada.models.api import check_api
from lada.models.api_options import ApiModel
from lada.models.base import Study
from lada.models.batches import steps_of
from lada.models.memory import MemoryEstimate, Trace
from lada.models.options import ModelOptions
from lada.models.placement import check_backend, check_placement, device_type
from lada.objectives.base import OBJECTIVES
from lada.planning.data import Samples, look
from lada.planning.facts import Model, find_model
from lada.planning.fit import Demand, device_plans
from lada.planning.generation import generation_plan, sample_counts
from lada.planning.lengths import Lengths, measure
from lada.planning.machine import devices
from lada.planning.plan import PartyPlan, PartyTime, Plan, PlannedStep, RoundPlan, StudyPlan
from lada.planning.times import party_times
from lada.planning.traffic import Forecast, Sender
from lada.rounds.base import Step
from lada.rounds.self_context import ANSWER, SCORE
from lada.rounds.sizes import check_sizes
from lada.rounds.steps import part_of

LOOKS = {"score": Verb.LOG_PROBS, "read": Verb.READ}
"""What an allocator may ask of a student about received paths: the verb of each phase."""
ASSUMED = 160
"""The longest answer of a learner of another kind, tokens: our assumption."""
Party = ServerConfig | ClientConfig
"""A party with a model: see `_Planner`."""


def plan(config: Source, *, overrides: tuple[str, ...] = ()) -> Plan:
    """Return the plan of a run with this configuration on this machine; both arguments are as for `lada.run`.

    Raises InputError if configuration, data or models are wrong, as far as that can be detected offline. Things that
    only this machine lacks, such as a package or an API's key, are among the plan's `faults`.
    """
    resolved, base = open_config(config, overrides)
    return _Planner(resolved, look(resolved, base)).plan()


def plan_without_data(config: Mapping[str, Any]) -> Plan:
    """Return the plan of a configuration whose data is not available: there are no samples, and lengths are assumed.

    Raises InputError if configuration or models are wrong.
    """
    return _Planner(open_config(config)[0], Samples(0, 0, {}, "not available")).plan()


class _Planner:
    """Assembles the plan of one configuration."""

    def __init__(self, config: RunConfig, samples: Samples) -> None:
        """Raises InputError if only a client itself knows its model."""
        if away := [client.name for client in config.clients if client.model is None]:
            raise InputError(
                f"clients.{away[0]}.model: it is in that client's own file, so nothing can be said of it here; plan "
                "with the configuration that `lada federation init` was given"
            )
        self._config, self._samples = config, samples
        self._objective = config.make(OBJECTIVES)
        host = config.make_host()
        self._pools = host.needs.pools_private
        self._rounds = [host.plan(round, self._objective) for round in range(config.rounds + 1)]
        asks = config.make(ALLOCATORS).needs
        if Verb.EMBED in asks.student:
            self._rounds = list(_with_vectors(self._rounds, own=asks.own_vectors))
        for phase, verb in LOOKS.items():
            if verb in asks.student:
                self._rounds = [tuple(_with_looks(steps, phase, verb)) for steps in self._rounds]
        if asks.tries:
            self._rounds = [tuple(_with_trials(steps, asks)) for steps in self._rounds]
        if any(client.self_context for client in config.clients):
            self._rounds = [tuple(_with_self_context(steps)) for steps in self._rounds]
        self._faults = [samples.fault] if samples.fault else []
        if samples.task:
            try:
                host.check_task(samples.task)
            except InputError as error:
                self._faults.append(str(error))
        soft = self._objective.needs.signal
        k, self._codecs = soft.k if soft else 0, Codecs(config.make_all(CODECS))
        if samples.task and config.rounds:
            try:
                check_sizes(config.limits, self._rounds[1], samples.task.public, k, self._codecs)
            except InputError as error:
                self._faults.append(str(error))
        self._devices = devices()
        self._demands: list[Demand] = []
        self._unknown: list[tuple[str, str]] = []
        self._senders: dict[str, Sender] = {}
        self._models: dict[str, Model | None] = {}

    def plan(self) -> Plan:
        config, samples = self._config, self._samples
        parties = tuple(self._named(party) for party in (config.server, *config.clients))
        workers = min(cores() if config.workers is None else config.workers, len(config.clients))
        schedule = tuple(_schedule(self._rounds))
        here = {device.name for device in self._devices}
        demands = [demand for demand in self._demands if demand.device in here]
        named = config.make_augmenter()
        counts = {"public": samples.public, "test": samples.test, **sample_counts(named, samples.public)}
        times = party_times(parties, schedule, counts, [demand for demand in demands if demand.timed])
        return Plan(
            name=config.name,
            rounds=config.rounds,
            methods=config.methods_told,
            public=samples.public,
            test=samples.test,
            data=samples.source,
            parties=parties,
            schedule=schedule,
            traffic=tuple(self._traffic()),
            generation=named and generation_plan(*named, config.rounds, parties[0]),
            devices=device_plans(self._demands, self._unknown, workers, self._devices),
            times=times,
            seconds=round(_together(times, config.server.name, workers), 1),
            notices=(*notices_before(config), *self._on_trials(), *(samples.task.notices if samples.task else ())),
            faults=tuple(self._faults),
        )

    def _on_trials(self) -> Iterator[str]:
        """Yield notes on trials, if there are any."""
        if any(step.phase == "try" for steps in self._rounds for step in steps):
            name, tries = self._config.choice(ALLOCATORS).name, self._config.make(ALLOCATORS).needs.tries
            yield (
                f"allocator {name!r} lets each student study on trial: that takes up to {100 * tries:.3g} % of the "
                "budget of the study `distil`, which is as much shorter"
            )

    def _named(self, party: Party) -> PartyPlan:
        with of_party(self._key(party)):
            return self._party(party)

    def _party(self, party: Party) -> PartyPlan:
        model = party.model
        assert model is not None
        if isinstance(model, ApiModel):
            return self._remote(party, model)
        if isinstance(model, OtherModel):
            return self._other(party, model)
        key = model.model_dump_json()
        if key not in self._models:
            self._models[key] = find_model(model)
        found, samples = self._models[key], self._samples.seen_by(party.name)
        facts = found and found.facts(samples)
        device = self._place(party, model)
        lengths = facts.lengths if facts else measure(samples, None, model.max_new_tokens)
        studies = dict(self._studies(party))
        memory, note = None, f"unknown offline: run `hf download {model.model} config.json`"
        if found is not None:
            demand = Demand(
                party.name, self._is_client(party), found.trace, model, device, tuple(studies.values()), lengths
            )
            try:
                memory, note = demand.memory(), ""
                self._demands.append(demand)
            except InputError as error:
                note = str(error)
        if memory is None:
            self._unknown.append((party.name, device))
        return self._told(
            party,
            model.model,
            device,
            lengths,
            note,
            vocabulary=facts.embeddings if facts else 0,
            shape=facts.shape if facts else "",
            memory=memory,
        )

    def _place(self, party: Party, model: ModelOptions) -> str:
        """Return the device of a model, and record what this machine lacks for it."""
        self._try(party, lambda: check_placement(model))
        self._try(party, lambda: check_backend(model.generation))
        wish = device_type("auto") if model.device == "auto" else model.device
        return wish.replace("cuda", "cuda:0")

    def _remote(self, party: Party, model: ApiModel) -> PartyPlan:
        api, encoder = located(model.api), None
        if api.tokenizer is not None and not is_folder(api.tokenizer):
            api = api.model_copy(update={"tokenizer": None})  # on the hub, which is not queried here
        try:
            with of_party(self._key(party)):
                encoder = check_api(api)
        except InputError as error:
            self._faults.append(str(error))
        lengths = measure(self._samples.seen_by(party.name), encoder, model.api.max_new_tokens)
        vocabulary = len(encoder.tokenizer) if encoder else 0
        return self._told(party, model.api.model, "remote", lengths, "behind an API", vocabulary=vocabulary)

    def _other(self, party: Party, model: OtherModel) -> PartyPlan:
        """Return the plan of a learner of another kind, as far as possible."""
        opened = opener(model)
        self._try(party, opened.check)
        if isinstance(opened, Network):
            return self._classifier(party, model.learner, opened)
        lengths = measure(self._samples.seen_by(party.name), None, ASSUMED)
        return self._told(party, model.learner, "its own", lengths, "a learner of another kind, of unknown size")

    def _classifier(self, party: Party, learner: str, network: Network) -> PartyPlan:
        """Return the plan of a classifier, whose prompt are its cells and whose path is one label."""
        options, trace = network.options, network.trace()
        device = device_type("auto") if options.device == "auto" else options.device
        planned = ModelOptions(model=learner, dtype="float32", batch_size=options.batch_size)

        def traced(options: ModelOptions, *_: object) -> Trace:
            if options.tune == "lora":
                raise InputError(f"model: {learner!r} has no adapter")
            return trace

        lengths = Lengths(trace.length - trace.completion, trace.completion, float(trace.completion), "counted")
        demand = Demand(
            party.name,
            self._is_client(party),
            traced,
            planned,
            device.replace("cuda", "cuda:0"),
            tuple(dict(self._studies(party)).values()),
            lengths,
            timed=False,
        )
        self._demands.append(demand)
        return self._told(
            party,
            learner,
            demand.device,
            lengths,
            vocabulary=trace.vocabulary,
            shape="its options",
            memory=demand.memory(),
        )

    def _told(
        self,
        party: Party,
        model: str,
        device: str,
        lengths: Lengths,
        note: str = "",
        *,
        vocabulary: int = 0,
        shape: str = "",
        memory: MemoryEstimate | None = None,
    ) -> PartyPlan:
        """Return the plan of a party; without `memory`, that of its learner is unknown, or needed elsewhere."""
        pooled = tuple(self._samples.pooled(party.name)) if self._pools else ()
        trainable = memory.trainable if memory else 0
        self._senders[party.name] = Sender(party.name, lengths.mean, vocabulary, trainable, pooled)
        studies = {} if device == "remote" else dict(self._studies(party))
        return PartyPlan(
            name=party.name,
            role="client" if self._is_client(party) else "server",
            model=model,
            device=device,
            private=self._samples.private.get(party.name, 0),
            studies=tuple(_study_plan(phase, study, further, lengths) for phase, (study, further) in studies.items()),
            prompt=lengths.prompt,
            completion=lengths.completion,
            mean=round(lengths.mean, 1),
            lengths=lengths.source,
            shape=shape,
            memory=memory,
            note=note,
        )

    def _try(self, party: Party, check: Callable[[], object]) -> None:
        """Record what a check of a party finds missing on this machine."""
        try:
            with of_party(self._key(party)):
                check()
        except InputError as error:
            self._faults.append(str(error))

    def _key(self, party: Party) -> str:
        return f"clients.{party.name}" if self._is_client(party) else "server"

    def _is_client(self, party: Party) -> bool:
        return party is not self._config.server

    def _studies(self, party: Party) -> Iterator[tuple[str, tuple[Study, int]]]:
        """Yield each phase in which a party studies, its options, and how many further paths a lesson may have."""
        side = "client" if self._is_client(party) else "server"
        for step in (step for steps in self._rounds for step in steps):
            if step.side == side and step.study is not None:
                study = part_of(getattr(party, step.study), *step.part)
                if study.epochs is not None:
                    study = self._in_steps(study, party, private=step.samples == "private")
                needs, compares = self._objective.needs, step.samples == "lessons" and step.phase != "try"
                yield step.phase, (study, 1 + needs.alternatives if compares and needs.rejected else 0)

    def _in_steps(self, study: Study, party: Party, *, private: bool) -> Study:
        """Return a study of some epochs in steps: the maximum, in case an allocator chooses everything."""
        private_samples = self._samples.private
        own = private_samples.get(party.name, 0) if self._is_client(party) else sum(private_samples.values())
        lessons = round(own / (1 - getattr(party, "rehearse", 0.0))) if private else self._samples.public
        return study.model_copy(update={"steps": steps_of(study, [1] * max(1, lessons), 0), "epochs": None})

    def _traffic(self) -> Iterator[Traffic]:
        soft = self._objective.needs.signal
        server, *clients = (self._senders[party.name] for party in (self._config.server, *self._config.clients))
        forecast = Forecast(self._codecs, self._samples.public, soft.k if soft else 0)
        for round, steps in enumerate(self._rounds):
            yield from forecast.expect(round, steps, server, clients)


def _study_plan(phase: str, study: Study, further: int, lengths: Lengths) -> StudyPlan:
    step = study.batch_size * lengths.mean * (1 + further)
    return StudyPlan(
        phase=phase,
        steps=study.steps if study.tokens is None else max(1, round(study.tokens / step)),
        batch_size=study.batch_size,
        micro_batch_size=study.micro_batch_size or study.batch_size,
        tokens=round(study.steps * step) if study.tokens is None else study.tokens,
    )


def _together(times: Sequence[PartyTime], server: str, workers: int) -> float:
    """Return the seconds of a run: the server's and, in parallel or afterwards, those of clients on `workers`
    processes."""
    clients = [time.seconds for time in times if time.party != server]
    alone = sum(time.seconds for time in times if time.party == server)
    return alone + max(sum(clients) / max(workers, 1), max(clients, default=0.0))


def _with_vectors(rounds: Iterable[Iterable[Step]], *, own: bool) -> Iterator[tuple[Step, ...]]:
    """Yield rounds, with the one time that each student embeds the questions (Candidates.embed) for its allocator.

    With `own`, a client embeds its private questions too (Candidates.own).
    """
    embedded: set[str] = set()
    for steps in rounds:
        told: list[Step] = []
        for step in steps:
            if step.samples == "lessons" and step.side not in embedded:
                embedded.add(step.side)
                told.append(Step(step.side, "embed", Verb.EMBED, "public"))
                if own and step.side == "client":
                    told.append(Step("client", "embed-own", Verb.EMBED, "private"))
            told.append(step)
        yield tuple(told)


def _with_self_context(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps, with a client's own answers to its private questions, and its scores of them, before it studies."""
    for step in steps:
        if step.side == "client" and step.samples == "private" and step.study is not None:
            yield Step("client", f"{step.phase}{ANSWER}", Verb.ANSWER, "private")
            yield Step("client", f"{step.phase}{SCORE}", Verb.LOG_PROBS, "private")
        yield step


def _with_looks(steps: Iterable[Step], phase: str, verb: Verb) -> Iterator[Step]:
    """Yield steps, with a look at received paths (Candidates.look, read) before each choice of a student."""
    looked = False
    for step in steps:
        if step.samples == "lessons" and not looked:
            yield Step(step.side, phase, verb, "public")
        looked = step.samples == "lessons"
        yield step


def _with_trials(steps: Iterable[Step], asks: Needs) -> Iterator[Step]:
    """Yield steps, with trials (Candidates.trials) before each choice of a student; they use a share of its study.

    All trial studies are one step here, and so are all judgements and answers of the copies.
    """
    tried = False
    for step in steps:
        if step.samples == "lessons" and not tried:
            yield Step(step.side, "try", Verb.STUDY, "lessons", "distil", (0.0, asks.tries))
            yield from (Step(step.side, "try", verb) for verb in (Verb.JUDGE, Verb.ANSWER) if verb in asks.student)
        tried = step.samples == "lessons"
        yield replace(step, part=(asks.tries, 1.0)) if step.study == "distil" and tried else step


def _schedule(rounds: Sequence[tuple[Step, ...]]) -> Iterator[RoundPlan]:
    """Yield the rounds with their steps; consecutive equal rounds are combined."""
    for steps, alike in groupby(range(len(rounds)), key=lambda round: rounds[round]):
        numbers = list(alike)
        yield RoundPlan(
            first=numbers[0],
            last=numbers[-1],
            steps=tuple(
                PlannedStep(side=s.side, phase=s.phase, verb=s.verb, samples=s.samples, sends=s.sends) for s in steps
            ),
        )
