"""The task `corpus`: a run's samples from a corpus on the Hugging Face Hub, or from a local copy."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from lada.core.errors import InputError, nearest
from lada.core.extras import require
from lada.core.hub import ask_hub, reason
from lada.core.paths import exists
from lada.core.plural import counted, plural
from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.core.words import same_question
from lada.models.quiet import hidden_bars
from lada.tasks.answers import answer_kind
from lada.tasks.corpus import Corpus, UnreadableGoldError, read_corpus, sample_of
from lada.tasks.data import TaskData
from lada.tasks.files import check_jsonl
from lada.tasks.options import HubTask, PartitionOptions
from lada.tasks.partition import partition
from lada.tasks.user import some_of
from lada.verifiers.choose import make_verifier
from lada.verifiers.options import CodeOptions

_LOCAL = "a folder saved by datasets' save_to_disk, a folder of parquet or jsonl files, or one file"
UNREADABLE = 0.1
"""The share of a split's rows whose gold answers may be unreadable; with more, the description of the corpus must be
wrong."""
_FORMATS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def load_corpus(options: HubTask, clients: Mapping[str, tuple[str, ...]], seed: int, base: Path = Path()) -> TaskData:
    """Read a corpus and draw public, private and test samples from the seed; no two of them share a question.

    The test comes from the corpus's test split; if the corpus or the source has none, from the training split. Ids are
    `<split>-<row>`, with rows counted from 1. Rows whose gold answer cannot be read are skipped and counted in a
    notice, unless they are more than UNREADABLE of all. Raises InputError for the verifier `code`; if the corpus cannot
    be loaded, naming the cause and the fix; and for a row that does not fit, naming it and its column.
    """
    if isinstance(options.verifier, CodeOptions):
        raise InputError(
            "task.verifier.kind: 'code' needs task.kind: files, since a corpus has no tests; put questions and tests "
            "into files, or choose another verifier"
        )
    corpus = read_corpus(options.corpus, base)
    splits = _splits(corpus, options, base)
    notices: list[str] = []
    train = _samples(corpus, splits, corpus.splits.train, options, seed, notices)
    if corpus.splits.test is not None and corpus.splits.test in splits:
        test = _samples(corpus, splits, corpus.splits.test, options, seed, notices)[: options.test]
        tested = {same_question(sample.question) for sample in test}
        train = [sample for sample in train if same_question(sample.question) not in tested]
    else:
        test, train = train[: options.test], train[options.test :]
    public, rest = train[: options.public], train[options.public :]
    if len(rest) < len(clients):
        raise InputError(
            f"task.public: {counted(options.public, 'public question')} of {len(train)} that are not for the test "
            f"{plural(options.public, 'leaves', 'leave')} {len(rest)} for {counted(len(clients), 'client')}; lower "
            "task.public or task.test, or raise task.rows"
        )
    wish = options.partition or PartitionOptions(by="iid" if corpus.domain is None else "domain")
    private = partition(rest, [None] * len(rest), clients, wish, seed)
    kind = answer_kind(corpus.kind)
    return TaskData(
        public=tuple(public),
        private={name: some_of(part, options.private, seed, name) for name, part in private.items()},
        test=tuple(test),
        replay=(),
        own_domains={name: frozenset(sample.domain for sample in part) for name, part in private.items()},
        general=frozenset(),
        extract=kind.extract,
        same=kind.same,
        steps=None,
        notices=tuple(notices),
        verifier=make_verifier(options.verifier, base),
    )


def _samples(
    corpus: Corpus, splits: Mapping[str, Any], split: str, options: HubTask, seed: int, notices: list[str]
) -> list[Sample]:
    """Return a split's samples with distinct questions, in an order drawn from the seed; append to `notices`."""
    if split not in splits:
        raise InputError(
            f"task.corpus: there is no split {split!r}; {options.source or corpus.hub} has "
            f"{', '.join(map(repr, splits))}{nearest(split, splits)}"
        )
    dataset = splits[split]
    chosen = generator(seed, "task", "corpus", split).permutation(len(dataset))[: options.rows]
    places = sorted(map(int, chosen))
    samples: dict[str, Sample] = {}
    kept, unreadable = 0, []
    for place, row in zip(places, _undecoded(dataset.select(places)), strict=True):
        where = f"data: {options.source or corpus.hub}, row {place + 1} of split {split!r}"
        try:
            sample = sample_of(corpus, row, where, f"{split}-{place + 1:06d}")
        except UnreadableGoldError as error:
            unreadable.append(error)
            continue
        if sample is not None:
            kept += 1
            samples.setdefault(same_question(sample.question), sample)
    if len(unreadable) > UNREADABLE * (kept + len(unreadable)):
        raise unreadable[0]
    if unreadable:
        left_out = plural(
            len(unreadable), "is left out, since its gold answer", "are left out, since their gold answers"
        )
        notices.append(
            f"task.corpus: {len(unreadable)} of {counted(kept + len(unreadable), 'row')} of split {split!r} "
            f"{left_out} cannot be read; the first: {unreadable[0]}"
        )
    if not samples:
        raise InputError(f"task.corpus: no row of split {split!r} is kept; check `keep`, or raise task.rows")
    return sorted(samples.values(), key=lambda sample: seed_of(seed, "task", "corpus", split, sample.question))


def _undecoded(dataset: Any) -> Any:
    """Return a data set with undecoded pictures and sounds, so that no package is needed to read them."""
    import datasets

    for name, feature in dataset.features.items():
        if isinstance(feature, (datasets.Image, datasets.Audio)):
            dataset = dataset.cast_column(name, type(feature)(decode=False))
    return dataset


def _splits(corpus: Corpus, options: HubTask, base: Path) -> dict[str, Any]:
    """Return the data set of each split; a single one is for training."""
    datasets = require("datasets", "task.kind: 'corpus'", "hub")
    with hidden_bars(datasets.utils):
        if options.source is None:
            revision = options.revision or corpus.revision
            with _explained_hub(corpus.hub):
                ask_hub("dataset", corpus.hub, revision)
                loaded = datasets.load_dataset(corpus.hub, corpus.configuration, revision=revision)
        else:
            loaded = _load_local(base / options.source)
    if isinstance(loaded, datasets.DatasetDict):
        return {str(split): rows for split, rows in loaded.items()}
    return {corpus.splits.train: loaded}


def check_source(source: Path) -> None:
    """Raise InputError if there is no copy of a corpus at `source`, or a file of unknown form. It is not read."""
    if not exists(source):
        raise InputError(f"task.source: there is no {source}; check the path, which is relative to the configuration")
    if source.is_file() and source.suffix not in _FORMATS:
        raise InputError(
            f"task.source: {source} has the extension {source.suffix!r}; expected {', '.join(_FORMATS)}"
            f"{nearest(source.suffix, _FORMATS)}"
        )


def _load_local(source: Path) -> Any:
    """Load a local copy: a data set, or one per split."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    check_source(source)
    with _explained(f"task.source: cannot load {str(source)!r}", f"expected {_LOCAL}"):
        try:
            if source.is_file():
                return datasets.load_dataset(_FORMATS[source.suffix], data_files=str(source), split="train")
            if (source / "dataset_dict.json").exists() or (source / "state.json").exists():
                return datasets.load_from_disk(str(source))
            return datasets.load_dataset(str(source))
        except DatasetGenerationError:
            # Its message names no row, but our reader's does.
            for file in [source] if source.is_file() else sorted(source.rglob("*.jsonl")):
                if file.suffix == ".jsonl":
                    check_jsonl(file)
            raise


def _explained_hub(name: str) -> AbstractContextManager[None]:
    fix = f"set task.source to a local copy ({_LOCAL}), or HF_HUB_OFFLINE=1 to use what was downloaded before"
    return _explained(f"task.corpus: cannot load {name!r} from the hub", fix)


@contextmanager
def _explained(what: str, fix: str) -> Iterator[None]:
    """Turn any error of `datasets` into an InputError; its errors share no base class."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {reason(error)}; {fix}") from error
