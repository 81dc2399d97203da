"""Refuses, before anything is trained, runs whose methods need abilities that a party lacks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.core.terms import Verb
from lada.models.base import Study
from lada.models.learners import LearnerOptions


@dataclass(frozen=True, slots=True)
class Chosen:
    """A method that a party runs, and its needs with the given options."""

    name: str
    needs: Needs
    due_to: Callable[[Collection[Verb]], Sequence[str]] = lambda _: ()
    """Takes verbs, and returns the options without which the method needs none of them."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A party as its configuration describes it."""

    name: str
    model: LearnerOptions | None
    """The party's model; None if only the party knows it."""
    methods: Mapping[str, Sequence[Chosen]] = field(default_factory=dict)
    """The methods that it runs, by kind."""
    studies: bool = True
    """Whether it learns from the others."""


def check_verbs(server: Seat, clients: Sequence[Seat]) -> None:
    """Raise InputError, naming method, party and verbs, for a method that needs a verb which the learner lacks.

    Clients learn from the server, and the server learns from them if it studies. Clients always study private data.
    """
    everybody = (server, *clients)
    from_server = _taught(clients)
    from_clients = _taught([server] if server.studies else [])
    for kind in dict.fromkeys(kind for seat in everybody for kind in seat.methods):
        chosen = {method.name: method for seat in everybody for method in seat.methods.get(kind, ())}
        for seat in everybody:
            if seat.model is not None:
                taught = (from_server if seat is server else from_clients).get(kind, {})
                _check_able(kind, seat, seat.model, taught, chosen)


def check_labels(server: Seat, clients: Sequence[Seat]) -> None:
    """Raise InputError unless all parties answer with the same labels, in any order, or all with any text."""
    told = {seat.name: seat.model.labels_told for seat in (server, *clients) if seat.model is not None}
    (first, labels), *others = told.items()
    for name, other in others:
        if (labels and set(labels)) != (other and set(other)):
            raise InputError(
                f"model: that of {first!r} answers with {_named(labels)}, but that of {name!r} with {_named(other)}; "
                "expected the same labels for all parties (model.options.labels), or no classifiers"
            )


def check_texts(host: str, objective: str, needs: Needs) -> None:
    """Raise InputError for an objective that needs a teacher's scores of the student's own texts, which no teacher of
    this host gives."""
    if needs.signal_on("student") is not None:
        raise InputError(
            f"objective {objective!r} learns from a teacher's scores of the student's own texts, which parties do not "
            f"exchange with host {host!r}; expected host fedmkt, or another objective"
        )


def check_self_context(model: LearnerOptions | None, study: Study, *, pooled: bool) -> None:
    """Raise InputError for a client that cannot teach itself on its private questions.

    `pooled`: its private samples are studied elsewhere. The model is None if only the client knows it.
    """
    if lacking := sorted({Verb.ANSWER, Verb.LOG_PROBS} - model.able) if model else []:
        raise InputError(
            f"self_context: it needs a learner that can {', '.join(lacking)}, but this one cannot "
            f"({model.limited_by if model else ''}); expected another model, or null"
        )
    if model and model.labels_told is not None:
        raise InputError(
            "self_context: a demonstration changes nothing for a learner whose answers are labels; expected another "
            "model, or null"
        )
    if study.dp is not None:
        raise InputError(
            "self_context: with it, two lessons may come from one private sample, but private.dp protects single "
            "lessons; expected null, or a study without dp"
        )
    if pooled:
        raise InputError(
            "self_context: the host studies private samples at the server, so it would have no effect; expected null, "
            "or another host"
        )


def check_rehearsal(study: Study, *, pooled: bool) -> None:
    """Raise InputError for a client that cannot rehearse.

    `pooled`: its private samples are studied elsewhere.
    """
    if study.dp is not None:
        raise InputError(
            "rehearse: the guarantee of private.dp is computed for private lessons alone; expected 0, or a study "
            "without dp"
        )
    if pooled:
        raise InputError(
            "rehearse: the host studies private samples at the server, so it would have no effect; expected 0, or "
            "another host"
        )


def _named(labels: tuple[str, ...] | None) -> str:
    return "any text" if labels is None else f"the labels {', '.join(labels)}"


def _taught(students: Sequence[Seat]) -> dict[str, dict[str, frozenset[Verb]]]:
    """Return what the methods of `students` need of their teachers, by kind and name."""
    verbs: dict[str, dict[str, frozenset[Verb]]] = {}
    for seat in students:
        for kind, methods in seat.methods.items():
            known = verbs.setdefault(kind, {})
            for method in methods:
                known[method.name] = known.get(method.name, frozenset()) | method.needs.teacher
    return verbs


def _check_able(
    kind: str,
    seat: Seat,
    model: LearnerOptions,
    taught: Mapping[str, frozenset[Verb]],
    chosen: Mapping[str, Chosen],
) -> None:
    own = {method.name: method.needs.student for method in seat.methods.get(kind, ())} if seat.studies else {}
    for name in dict.fromkeys((*own, *taught)):
        needed = own.get(name, frozenset()) | taught.get(name, frozenset())
        if lacking := sorted(needed - model.able):
            due = chosen[name].due_to(lacking)
            fix = f"leave out its option {' or '.join(due)}, or choose" if due else "choose"
            raise InputError(
                f"{kind} {name!r} needs a learner that can {', '.join(lacking)}, but that of {seat.name!r} cannot "
                f"({model.limited_by}); {fix} another method, another model, or directions: llm_to_slm for a server "
                "that only teaches"
            )
