"""Which task a run has, and its options: `task` in the configuration."""

import operator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lada.core.bounds import LARGEST_SEED, Samples
from lada.core.registry import Options
from lada.models.label_sets import ATTRIBUTES, CENTRE, LABEL_SETS, Place, caption, pair, parity
from lada.verifiers.options import VerifierOptions


def _none(value: object) -> bool:
    return not value


class BuiltinTask(Options):
    """How many questions to draw from a built-in corpus, and from which world."""

    kind: Literal["rulebooks", "lineups"] = "rulebooks"
    """The built-in corpus: `rulebooks` has verbs that change numbers, `lineups` has verbs that rearrange things in a
    line."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Which world's rulebook is true. The same words mean different things in different worlds."""
    public: Samples = 1000
    """Number of public questions, spread evenly over all domains except `general`."""
    private: Samples = 800
    """Number of private questions per client, spread evenly over its domains."""
    test_per_domain: Samples = 100
    """Number of test questions per domain, including `general`."""
    replay: int = Field(default=400, ge=0, le=10_000_000)
    """Number of general questions that every party replays to retain its skills."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of the public questions whose gold answer and rationale are wrong but look right."""
    gold: Literal["rationales", "answers", "none"] = "rationales"
    """What is known about the public questions: rationales with answers, answers only, or neither."""
    hard: float = Field(default=0.0, ge=0, le=1)
    """Share of the public questions that chain five or six verbs, more than any shipped model was trained on."""
    public_domains: tuple[str, ...] = Field(default=(), strict=False, exclude_if=_none)
    """The domains of the public questions with a single domain. Empty means all."""
    mixed: tuple[Annotated[tuple[str, ...], Field(strict=False, min_length=2)], ...] = Field(
        default=(), strict=False, exclude_if=_none
    )
    """Groups of domains, such as `[[warehouse, clinic]]`. A mixed question chains verbs of one group in the wording of
    another domain. Public and test questions can be mixed."""
    mixed_share: float = Field(default=0.0, ge=0, le=1, exclude_if=_none)
    """Share of the public questions that are mixed, spread evenly over `mixed`."""
    mixed_test: int = Field(default=0, ge=0, le=10_000_000, exclude_if=_none)
    """Number of test questions for each group in `mixed`."""
    known: tuple[str, ...] = Field(default=(), strict=False, exclude_if=_none)
    """Domains that the server's LLM knows. If set, results also report accuracy on new domains. For a client, these are
    the listed domains that its private data lacks. For the LLM, they are the clients' domains that it does not know."""
    shorthand: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default={}, exclude_if=_none)
    """By client: the share of its private rationales that skip the computation for its own domain's verbs."""
    styles: bool = Field(default=False, exclude_if=_none)
    """Report the styles of the paths that each party's allocator chose. No method sees them."""

    @model_validator(mode="after")
    def _mixed_is_whole(self) -> "BuiltinTask":
        if (self.mixed_share or self.mixed_test) and not self.mixed:
            raise ValueError(
                "mixed_share or mixed_test is above 0, but mixed names no domains; expected some, such as "
                "[[warehouse, clinic]]"
            )
        if self.hard + self.mixed_share > 1:
            raise ValueError(
                f"hard is {self.hard:g} and mixed_share {self.mixed_share:g}; expected shares that add up to 1 at most"
            )
        return self


class Columns(Options):
    """Which column of a file holds what. Only the question or a conversation is required in every file."""

    question: str = "question"
    """The question."""
    answer: str = "answer"
    """The gold answer."""
    rationale: str = "rationale"
    """The gold rationale."""
    domain: str = "domain"
    """The domain."""
    id: str = "id"
    """The sample's id."""
    difficulty: str = "difficulty"
    """The number of reasoning steps."""
    client: str = "client"
    """The client that owns the row, for `partition: {by: given}`."""
    entry: str = "entry"
    """What the task's verifier needs to know about the question, as text, such as tests."""
    messages: str = "messages"
    """A conversation instead of question and answer: a list of messages, or the same as JSON text."""


class PartitionOptions(Options):
    """How samples are divided among clients.

    `domain`: each client gets the domains that it lists. Domains that no client lists are dealt in turn to the clients
    that list none. A domain with several owners is divided evenly among them. `dirichlet` splits each domain in
    proportions drawn from a symmetric Dirichlet distribution (Hsu et al. 2019, arXiv:1909.06335, with domains as
    labels). `given`: by the client column. `iid`: divided evenly.
    """

    by: Literal["domain", "dirichlet", "given", "iid"] = "domain"
    """By the domains that clients list, by a Dirichlet draw, by the client column, or evenly."""
    alpha: float = Field(default=0.5, ge=1e-3, le=1e6, allow_inf_nan=False)
    """Concentration of `dirichlet`: small values are skewed, large ones even."""


class FilesTask(Options):
    """Which files hold the data and how they are used. Relative paths start at the configuration's folder."""

    kind: Literal["files"] = "files"
    """Your own files."""
    train: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """The clients' private samples, each with an answer, in one file or several. None is allowed only at the server of
    a deployment, which has no private samples."""
    public: str
    """Questions that all parties have. Answers are optional."""
    test: str | None = None
    """Questions for evaluation only, each with an answer. None holds out `test_share` of each client's samples."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of each client's samples that is held out if there is no test file."""
    replay: str | None = None
    """General samples that every party has and replays against forgetting."""
    columns: Columns = Columns()
    """The names of the columns."""
    partition: PartitionOptions = PartitionOptions()
    """How private samples are divided among clients."""
    answer: str = "auto"
    """How answers are read and compared: the name of an answer kind (see lada.tasks.answers)."""
    verifier: VerifierOptions | None = None
    """What decides which answers to public and test questions are right. None compares them with the gold answer. With
    a verifier, test rows need no answer, and training rows need only a rationale."""
    public_limit: Samples | None = None
    """Maximum number of public samples, drawn with the run's seed."""
    private_limit: Samples | None = None
    """Maximum number of private samples per client, drawn with the run's seed."""


class HubTask(Options):
    """Which corpus to use, its source, and how much of it."""

    kind: Literal["corpus"] = "corpus"
    """A public corpus."""
    corpus: str
    """The name of a shipped corpus, or the path of your own YAML file."""
    source: str | None = None
    """A folder saved by `datasets`, a folder of files named after their splits, or one file (.jsonl, .json, .parquet,
    .csv). None means the hub. Relative paths start at the configuration's folder."""
    revision: str | None = None
    """A commit, branch or tag on the hub. It overrides the corpus's own."""
    public: Samples = 1000
    """Number of public questions."""
    private: Samples = 800
    """Maximum number of private questions per client."""
    test: Samples = 500
    """Maximum number of test questions."""
    rows: Samples = 20_000
    """Maximum number of rows read from a split."""
    verifier: VerifierOptions | None = None
    """What decides which answers are right. None compares them with the gold answer."""
    partition: PartitionOptions | None = None
    """How private samples are divided. None means by domain if the corpus has domains, else evenly (iid)."""


class GymTask(Options):
    """Which generators make the questions. Each is a domain."""

    kind: Literal["reasoning_gym"] = "reasoning_gym"
    """Questions generated by reasoning-gym."""
    generators: dict[str, dict[str, Any]] = Field(min_length=1)
    """The generators by name, each with its own options, such as `{chain_sum: {max_terms: 4}, gcd: {}}`. Clients list
    them as domains."""
    public: Samples = 1000
    """Number of public questions, spread evenly over all generators."""
    private: Samples = 800
    """Number of private questions per client, spread evenly over its generators."""
    test_per_domain: Samples = 100
    """Number of test questions per generator."""
    threshold: float = Field(default=1.0, gt=0, le=1)
    """Minimum score of a right answer. Many verifiers give partial credit."""
    answer: str = "auto"
    """How to find the answer in a path before the verifier scores it (see lada.tasks.answers)."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Maximum time for a verifier to check one answer, in seconds."""


class FamiliesTask(Options):
    """How many questions of reasoning-gym's families to draw, single and chained, and from which world."""

    kind: Literal["families"] = "families"
    """Families of reasoning-gym with rationales, levels and chains of two (see lada.tasks.families)."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Seed of the generators. It also decides which client gets which family if clients list none."""
    families: tuple[str, ...] = ()
    """The families to use. Empty means all. Clients list them as domains."""
    public: Samples = 1000
    """Number of public questions, spread evenly over all families and all pairs that chain."""
    mixed: float = Field(default=0.5, ge=0, le=1)
    """Share of the public questions that chain two families: the answer of one is an operand of the other."""
    private: Samples = 600
    """Number of private questions per client, spread evenly over its families. A small family may have fewer."""
    test_per_domain: Samples = 100
    """Number of test questions per family and general skill, spread evenly over the levels. A small one may have
    fewer."""
    test_mixed: int = Field(default=100, ge=0, le=10_000_000)
    """Number of test questions that chain two families."""
    replay: int = Field(default=400, ge=0, le=10_000_000)
    """Number of questions on general skills that every party replays against forgetting."""
    gold: Literal["rationales", "answers", "none"] = "rationales"
    """What is known about the public questions: rationales with answers, answers only, or neither."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Maximum time for a verifier to check one answer, in seconds."""


SCHOOL = 300
"""Number of scans reserved for training networks before a run."""
ScanDomain = Literal["plain", "inverted", "noise", "blur", "rotated", "contrast"]


class DigitsTask(Options):
    """Which scans of handwritten digits to use, what a question shows of them, and how clients differ."""

    kind: Literal["digits"] = "digits"
    """Scans of handwritten digits, for classifiers (see the page on digits)."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Which scans are for tests. The run's seed deals the others."""
    grids: tuple[Literal["scan", "strokes", "graph", "scene"], ...] = Field(
        default=("scan",), strict=False, min_length=1
    )
    """What a question shows. `scan`: the pixels. `strokes`: a signal of 48 numbers, as a second modality. `graph`: the
    scan with its nearest ones, as `nodes` and `edges`. `scene`: several digits on a canvas, with the `box` of the one
    that is asked for."""
    labels: Literal["digits", "parity", "attributes", "captions"] = "digits"
    """What is asked for. `digits`: 0 to 9. `parity`: even or odd. `attributes`: how a digit of a scene looks and which
    it is, such as `bold 7`. `captions`: also where it stands, such as `a bold seven at the top left`."""
    unseen: tuple[str, ...] = Field(default=(), strict=False, exclude_if=operator.not_)
    """Pairs of an attribute and a digit, such as `bold 7`, that no public or private scene shows. Test scenes with them
    form the domain `unseen`."""
    split: Literal["domains", "classes", "dirichlet"] = "domains"
    """How clients differ. `domains`: their scans look different. `classes`: they have other classes. `dirichlet`: each
    class is divided in proportions drawn from a symmetric Dirichlet distribution."""
    domains: tuple[ScanDomain, ...] = Field(default=(), strict=False)
    """With `split: domains`: the domains of public and test scans, which clients list. Empty means all."""
    public_domains: tuple[ScanDomain, ...] = Field(default=(), strict=False, exclude_if=operator.not_)
    """Domains of public scans, if they are others than `domains`."""
    web: float = Field(default=0.0, ge=0, lt=1, exclude_if=operator.not_)
    """Share of the public questions that show no digit: scans with shuffled pixels and letters, half each. They have no
    label."""
    classes: Literal[1, 2, 5] = 5
    """With `split: classes`: classes of a domain. The domains are then `0-4` and `5-9`, `0-1` to `8-9`, or `0` to
    `9`."""
    alpha: float = Field(default=0.5, ge=1e-3, le=1e6, allow_inf_nan=False)
    """Concentration of `dirichlet`: small values are skewed, large ones even."""
    public: Samples = 300
    """Number of public scans, spread evenly over all domains."""
    private: Samples = 600
    """Number of private scans, of all clients together. Owners of one domain share its scans evenly."""
    test_per_domain: Samples = 100
    """Maximum number of test scans per domain."""
    neighbours: int = Field(default=5, ge=1, le=32)
    """With `graph`: how many nearest scans a scan comes with."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of the public scans whose label is wrong."""
    gold: Literal["answers", "none"] = "answers"
    """Whether the labels of public scans are known."""
    known: tuple[str, ...] = Field(default=(), strict=False)
    """Domains that the server's model knows. If set, results also report accuracy on new domains."""

    @model_validator(mode="after")
    def _goes_together(self) -> "DigitsTask":
        for name, names in (("grids", self.grids), ("domains", self.domains), ("public_domains", self.public_domains)):
            if len(set(names)) < len(names):
                raise ValueError(f"{name} {list(names)} name one twice; name each once")
        if self.labels in ("attributes", "captions") and "scene" not in self.grids:
            raise ValueError(
                f"labels is {self.labels!r}, which only digits of a scene have; expected scene among grids"
            )
        if (self.domains or self.public_domains) and self.split != "domains":
            raise ValueError(f"domains are set with split {self.split!r}; expected split: domains")
        if self.unseen and "scene" not in self.grids:
            raise ValueError(f"unseen is {list(self.unseen)}, but grids has no scene; expected scene among grids")
        if self.web and not {"scan", "strokes"}.issuperset(self.grids):
            raise ValueError(f"web is {self.web:g} with grids {list(self.grids)}; expected scan or strokes alone")
        return self

    @field_validator("unseen")
    @classmethod
    def _some_are_seen(cls, unseen: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [each for each in unseen if each not in LABEL_SETS["attributes"]]:
            raise ValueError(f"{unknown[0]!r} is no pair of an attribute and a digit; expected one such as 'bold 7'")
        for digit in range(10):
            if all(pair(attribute, digit) in unseen for attribute in ATTRIBUTES):
                raise ValueError(f"no look of {digit} is left to be seen; leave one out")
        return unseen

    def label_of(self, digit: int, attribute: str = "plain", place: Place = CENTRE) -> str:
        """Return the label of a digit that looks like this and stands there."""
        match self.labels:
            case "digits":
                return str(digit)
            case "parity":
                return parity(digit)
            case "attributes":
                return pair(attribute, digit)
            case "captions":
                return caption(attribute, digit, place)


TaskOptions = Annotated[
    BuiltinTask | FilesTask | HubTask | GymTask | FamiliesTask | DigitsTask, Field(discriminator="kind")
]
"""A union discriminated by `kind`. Use it as a field's type, or with pydantic.TypeAdapter."""
