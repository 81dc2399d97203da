"""The task `files`: a run's samples from your own files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lada.core.errors import InputError, nearest
from lada.core.plural import counted, plural
from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.core.words import same_question
from lada.tasks.answers import AnswerKind, answer_kind
from lada.tasks.corpus import ALL
from lada.tasks.data import TaskData
from lada.tasks.files import Table, read_samples
from lada.tasks.options import Columns, FilesTask
from lada.tasks.partition import partition
from lada.verifiers.choose import make_verifier
from lada.verifiers.code import has_tests
from lada.verifiers.options import CodeOptions


def load_files(options: FilesTask, clients: Mapping[str, tuple[str, ...]], seed: int, base: Path = Path()) -> TaskData:
    """Read and divide the user's samples; the public ones are shuffled with the seed.

    A sample without a domain belongs to the domain `all`. Without a test file, a question that is held out is held out
    everywhere. With one, a test question that is also a training, public or replay question is refused, since only the
    user knows which of the two rows is the mistake. A training question that is also a public or replay question is
    refused too, since it is not private. Questions that differ only in case, spaces and forms of characters count as
    the same.

    Without training files, there are no private samples, and own domains are those that the clients list.

    Raises InputError for data that cannot be used, naming file and row if possible.
    """
    kind = answer_kind(options.answer)
    verifier = make_verifier(options.verifier, base)
    if options.train is None and options.test is None:
        raise InputError(
            "task.test: missing; without task.train there are no samples to hold out for a test, so name a file"
        )

    def read(path: str, *, require_answer: bool) -> Table:
        table = read_samples(base / path, options.columns, require_answer=require_answer and options.verifier is None)
        if options.verifier is None:
            _refuse_unreadable(table.samples, kind, path)
        return replace(table, samples=tuple(replace(s, domain=s.domain or ALL) for s in table.samples))

    train = {path: read(path, require_answer=True) for path in _several(options.train or ())}
    _refuse_untaught(train)
    shared = {"public": read(options.public, require_answer=False)}
    if options.replay is not None:
        shared["replay"] = read(options.replay, require_answer=False)
    tested = {} if options.test is None else {"test": read(options.test, require_answer=True)}
    _refuse_absent(options.columns, [*train.values(), *shared.values(), *tested.values()])
    _refuse_repeated(train)

    public = shared["public"].samples
    replay = shared["replay"].samples if "replay" in shared else ()
    samples = [sample for table in train.values() for sample in table.samples]
    owners = [owner for table in train.values() for owner in table.clients]
    private = partition(samples, owners, clients, options.partition, seed) if train else {}
    for name, others in (("public", public), ("replay", replay)):
        _refuse_shared(samples, others, "train", "training", name)
    if tested:
        test = tested["test"].samples
        for name, others in (("train", samples), ("public", public), ("replay", replay)):
            _refuse_shared(test, others, "test", "test", name)
    else:
        private, test = _hold_back(private, options.test_share, seed)
    if isinstance(options.verifier, CodeOptions):
        _refuse_untested((*public, *test))
    order = generator(seed, "task", "public", "order").permutation(len(public))
    return TaskData(
        public=tuple(public[row] for row in order[: options.public_limit]),
        private={name: some_of(part, options.private_limit, seed, name) for name, part in private.items()},
        test=test,
        replay=replay,
        own_domains=_own_domains(private) if train else {name: frozenset(listed) for name, listed in clients.items()},
        general=frozenset(),
        extract=kind.extract,
        same=kind.same,
        steps=None,
        verifier=verifier,
    )


def _own_domains(private: Mapping[str, Sequence[Sample]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(sample.domain for sample in part) for name, part in private.items()}


def _several(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else tuple(dict.fromkeys(paths))


def _refuse_absent(columns: Columns, tables: Sequence[Table]) -> None:
    """Refuse a column that is set in the configuration but missing in all files."""
    present = sorted({name for table in tables for name in table.columns})
    for field, name in columns.model_dump().items():
        if name != field and name not in present:
            raise InputError(
                f"task.columns.{field}: no file has a column {name!r}; they have {', '.join(map(repr, present))}"
                f"{nearest(name, present)}"
            )


def _refuse_repeated(train: Mapping[str, Table]) -> None:
    """Refuse an id that occurs in two training files."""
    files: dict[str, str] = {}
    for path, table in train.items():
        for sample in table.samples:
            if sample.id in files:
                raise InputError(
                    f"task.train: id {sample.id!r} is in {files[sample.id]} and in {path}; make ids unique, or leave "
                    "the id column out and give the files different names"
                )
        files |= dict.fromkeys((sample.id for sample in table.samples), path)


def _refuse_untaught(train: Mapping[str, Table]) -> None:
    """Refuse a training sample with neither an answer nor a rationale to learn."""
    for path, table in train.items():
        for sample in table.samples:
            if sample.answer is None and sample.rationale is None:
                raise InputError(
                    f"task.train: sample {sample.id!r} in {path} has neither an answer nor a rationale; expected one "
                    "of them at least"
                )


def _refuse_unreadable(samples: Iterable[Sample], kind: AnswerKind, path: str) -> None:
    """Refuse a gold answer that no path can match."""
    for sample in samples:
        gold = sample.answer
        if gold is not None and not kind.reads(gold):
            raise InputError(
                f"task.answer: kind {kind.name!r} cannot read the answer {gold[:50]!r} of sample {sample.id!r} in "
                f"{path}; correct the answer or choose another kind"
            )


def _refuse_untested(samples: Iterable[Sample]) -> None:
    """Refuse a question without tests, since any program would pass."""
    for sample in samples:
        if not has_tests(sample.entry):
            raise InputError(
                f"task.verifier: sample {sample.id!r} has no tests; expected Python statements such as "
                "`assert double(2) == 4` in the column task.columns.entry of every public and test question"
            )


def _questions(samples: Iterable[Sample]) -> set[str]:
    return {same_question(sample.question) for sample in samples}


def _refuse_shared(samples: Sequence[Sample], others: Sequence[Sample], key: str, kind: str, name: str) -> None:
    questions = _questions(others)
    shared = [sample.id for sample in samples if same_question(sample.question) in questions]
    if shared:
        raise InputError(
            f"task.{key}: {counted(len(shared), f'{kind} question')} "
            f"{plural(len(shared), f'is also a {name} question', f'are also {name} questions')} (the first is "
            f"{shared[0]!r}); "
            f"remove them from one of task.{key} and task.{name}"
        )


def _hold_back(
    private: Mapping[str, tuple[Sample, ...]], share: float, seed: int
) -> tuple[dict[str, tuple[Sample, ...]], tuple[Sample, ...]]:
    """Take `share` of each client's distinct questions for the test, at least one; a question is tested only once.

    Questions are ranked by a digest of seed and text, so the order of the rows does not matter.
    """
    chosen: set[str] = set()
    for name, samples in private.items():
        own: dict[str, str] = {}  # ranked by the smallest of its spellings, so the order of the rows does not matter
        for question in sorted(sample.question for sample in samples):
            own.setdefault(same_question(question), question)
        free = sorted(own, key=lambda question: seed_of(seed, "task", "test", own[question]))
        if len(free) < 2:
            raise InputError(
                f"task.test: client {name!r} has {counted(len(free), 'question')}, too few to hold one out for the "
                "test; give it more data, or give a test file"
            )
        chosen |= set(free[: min(max(1, round(share * len(free))), len(free) - 1)])
    test: dict[str, Sample] = {}
    for samples in private.values():
        for sample in samples:
            if (question := same_question(sample.question)) in chosen:
                test.setdefault(question, sample)
    rest = {
        name: tuple(sample for sample in samples if same_question(sample.question) not in chosen)
        for name, samples in private.items()
    }
    for name, samples in rest.items():
        if not samples:
            raise InputError(
                f"task.test_share: client {name!r} is left with no training samples, since other clients have the "
                "same questions; lower it, or give a test file"
            )
    return rest, tuple(test.values())


def some_of(samples: tuple[Sample, ...], limit: int | None, seed: int, client: str) -> tuple[Sample, ...]:
    """Return at most `limit` of a client's samples, drawn with the seed, in their original order."""
    if limit is None or len(samples) <= limit:
        return samples
    rows = generator(seed, "task", "private", "limit", client).permutation(len(samples))[:limit]
    return tuple(samples[row] for row in sorted(rows))
