"""The task `digits`: real scans of handwritten digits, for classifiers; a run takes seconds.

The 1,797 scans of 8x8 pixels come with scikit-learn (`load_digits`). A world sets scans aside for tests and schools;
the run's seed deals all others.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from lada.core.errors import InputError, nearest
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.models.label_sets import LABEL_SETS
from lada.models.labels import read_label
from lada.tasks.builtin import deal_domains, evenly
from lada.tasks.data import TaskData
from lada.tasks.digit_questions import PLAIN, UNSEEN, Row, of_no_digit, of_scan
from lada.tasks.options import SCHOOL, DigitsTask, PartitionOptions
from lada.tasks.partition import partition
from lada.tasks.scans import DOMAINS, scans

TEST = 597
"""Number of scans that are for tests alone."""
CLASSES = 10


def load_digits(options: DigitsTask, clients: Mapping[str, tuple[str, ...]], seed: int) -> TaskData:
    """Deal the scans of a run: each is public, at one client or in the test, and never in two of them.

    Ids: `public-00000` in shuffled order, `private-<client>-00000`, `test-<domain>-00000`. A test scan comes once in
    each domain. Raises InputError for an unknown domain, more scans than there are, and a client that gets none. The
    samples of the last call are cached for an equal one.
    """
    return _load(options.model_dump_json(), tuple(sorted(clients.items())), seed)


@lru_cache(maxsize=1)
def _load(told: str, listed: tuple[tuple[str, tuple[str, ...]], ...], seed: int) -> TaskData:
    options, clients = DigitsTask.model_validate_json(told), dict(listed)
    pool = scans(options.world)
    domains = _domains(options)
    owned = _owned(options, clients, tuple(domains))
    test, rest = pool.order[:TEST], pool.order[TEST + SCHOOL :]
    if options.public + options.private > len(rest):
        raise InputError(
            f"task.public: {options.public} with task.private: {options.private}; expected at most {len(rest)} scans "
            f"together, since {TEST} are for tests and {SCHOOL} for schools"
        )
    rest = rest[generator(seed, "task", "digits", "pools").permutation(len(rest))]
    public, private = rest[: options.public], rest[options.public :][: options.private]
    dealt = _dealt(options, private, domains, owned, seed)
    notices = [
        f"{client} has scans of one class only, {classes.pop()}"
        for client, rows in dealt.items()
        if len(classes := {options.label_of(int(pool.labels[row])) for row, _ in rows}) == 1
    ]
    tested = _unseen(options, test)
    for domain, classes in domains.items():
        fit = [int(row) for row in test if pool.labels[row] in classes][: options.test_per_domain]
        if len(fit) < options.test_per_domain:
            notices.append(f"{domain} has only {len(fit)} of {options.test_per_domain} test scans")
        tested += [of_scan(options, row, domain, f"test-{domain}-{n:05d}", test) for n, row in enumerate(fit)]
    every = frozenset(range(CLASSES))
    shown: Mapping[str, frozenset[int]] = {name: every for name in options.public_domains} or domains
    asked, noisy = _asked(options, public, shown, seed)
    return TaskData(
        public=asked,
        private={
            client: tuple(
                of_scan(options, row, domain, f"private-{client}-{n:05d}", private)
                for n, (row, domain) in enumerate(dealt[client])
            )
            for client in sorted(dealt)
        },
        test=tuple(tested),
        replay=(),
        own_domains={client: frozenset(own) for client, own in owned.items()},
        general=frozenset(),
        extract=read_label,
        same=_same,
        steps=None,
        noisy=noisy,
        notices=tuple(notices),
        known=frozenset(options.known),
    )


def load_school(options: DigitsTask) -> tuple[Sample, ...]:
    """Return `public` scans, of SCHOOL at most, that no run of the same world has."""
    rows = scans(options.world).order[TEST : TEST + SCHOOL][: options.public]
    samples, _ = _asked(options, rows, _domains(options), options.world)
    return samples


def _unseen(options: DigitsTask, test: np.ndarray) -> list[Sample]:
    """Return test scenes of the pairs that no other scene shows, evenly of each pair."""
    labels, asked = scans(options.world).labels, []
    for each, count in evenly(options.test_per_domain, options.unseen) if options.unseen else ():
        attribute, digit = each.split()
        rows = [int(row) for row in test if labels[row] == int(digit)][:count]
        asked += [(row, attribute) for row in rows]
    return [
        of_scan(options, row, UNSEEN, f"test-{UNSEEN}-{n:05d}", test, attribute)
        for n, (row, attribute) in enumerate(asked)
    ]


def _same(answer: str | None, gold: str) -> bool:
    return answer == gold


def _domains(options: DigitsTask) -> dict[str, frozenset[int]]:
    """Return the classes of each domain of the run."""
    if options.split == "classes":
        starts = range(0, CLASSES, options.classes)
        groups = [frozenset(range(start, start + options.classes)) for start in starts]
        return {f"{min(group)}-{max(group)}" if len(group) > 1 else f"{min(group)}": group for group in groups}
    names = (options.domains or tuple(DOMAINS)) if options.split == "domains" else (PLAIN,)
    return dict.fromkeys(names, frozenset(range(CLASSES)))


def _owned(
    options: DigitsTask, clients: Mapping[str, tuple[str, ...]], domains: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return each client's domains; those that list none get one in turn."""
    for key, names in (
        *((f"clients: {name!r} lists", clients[name]) for name in clients),
        ("task.known:", options.known),
    ):
        for domain in names:
            if domain not in domains:
                raise InputError(
                    f"{key} domain {domain!r}; expected some of {', '.join(domains)}{nearest(domain, domains)}"
                )
    return deal_domains(clients, domains)


def _dealt(
    options: DigitsTask,
    rows: np.ndarray,
    domains: Mapping[str, frozenset[int]],
    owned: Mapping[str, tuple[str, ...]],
    seed: int,
) -> dict[str, list[tuple[Row, str]]]:
    """Return each client's scans, each with its domain. Raises InputError for a client that gets none."""
    labels = scans(options.world).labels
    if options.split == "dirichlet":
        samples = [Sample(str(row), "", domain=str(labels[row])) for row in rows]
        names = {name: () for name in owned}
        parts = partition(
            samples, [None] * len(rows), names, PartitionOptions(by="dirichlet", alpha=options.alpha), seed
        )
        return {name: [(int(sample.id), PLAIN) for sample in parts[name]] for name in parts}
    named = sorted({domain for own in owned.values() for domain in own})
    if options.split == "classes":
        by_domain = {domain: [int(row) for row in rows if labels[row] in domains[domain]] for domain in named}
    else:
        ends = np.cumsum([count for _, count in evenly(len(rows), named)])
        by_domain = dict(zip(named, (part.tolist() for part in np.split(rows, ends[:-1])), strict=True))
    dealt: dict[str, list[tuple[Row, str]]] = {name: [] for name in owned}
    for domain, own in by_domain.items():
        owners = [name for name in sorted(owned) if domain in owned[name]]
        for place, row in enumerate(own):
            dealt[owners[place % len(owners)]].append((row, domain))
    for name, own in dealt.items():
        if not own:
            raise InputError(
                f"clients: {name!r} gets none of the {options.private} private scans; raise task.private, or use fewer "
                "clients"
            )
    return dealt


def _asked(
    options: DigitsTask, rows: np.ndarray, domains: Mapping[str, frozenset[int]], seed: int
) -> tuple[tuple[Sample, ...], frozenset[str]]:
    """Return the public samples, spread evenly over domains, and the ids of those with a wrong label or no digit."""
    labels = scans(options.world).labels
    if options.split == "classes":
        chosen = [next(name for name, classes in domains.items() if labels[row] in classes) for row in rows]
    else:
        chosen = [domain for domain, count in evenly(len(rows), tuple(domains)) for _ in range(count)]
    order = generator(seed, "task", "digits", "public").permutation(len(rows))
    samples = [
        of_scan(options, int(rows[row]), chosen[row], f"public-{place:05d}", rows) for place, row in enumerate(order)
    ]
    rng = generator(seed, "task", "digits", "noise")
    wrong = rng.permutation(len(samples))[: round(options.noise * len(samples))].tolist()
    for place in wrong:
        others = [label for label in sorted(LABEL_SETS[options.labels]) if label != samples[place].answer]
        label = others[int(rng.integers(len(others)))]
        samples[place] = replace(samples[place], answer=label, rationale=label)
    web = generator(seed, "task", "digits", "web").permutation(len(samples))[: round(options.web * len(samples))]
    for number, place in enumerate(web.tolist()):
        row, domain = order[place], samples[place].domain
        samples[place] = of_no_digit(options, int(rows[row]), domain, samples[place].id, seed, letter=bool(number % 2))
    wrong += [place for place in web.tolist() if place not in wrong]
    if options.gold == "none":
        samples = [replace(sample, answer=None, rationale=None) for sample in samples]
    return tuple(samples), frozenset(samples[place].id for place in wrong)
