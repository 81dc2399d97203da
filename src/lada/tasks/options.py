"""Which task a run has, and its options: `task` in the configuration."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lada.core.bounds import LARGEST_SEED, Samples
from lada.core.registry import Options
from lada.verifiers.options import VerifierOptions


def _none(value: object) -> bool:
    return not value


class BuiltinTask(Options):
    """How many questions of a built-in corpus to draw, and of which world."""

    kind: Literal["rulebooks", "lineups"] = "rulebooks"
    """Which built-in corpus: numbers that verbs change, or things in a line that verbs rearrange."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Whose rulebook is the true one: the same words mean other things in another world."""
    public: Samples = 1000
    """Public questions, spread evenly over all domains but `general`."""
    private: Samples = 800
    """Private questions per client, spread evenly over its domains."""
    test_per_domain: Samples = 100
    """Test questions of each domain, `general` too."""
    replay: int = Field(default=400, ge=0, le=10_000_000)
    """General questions that every party replays so that it forgets no skill."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of the public questions whose gold answer and rationale are wrong, though they look right."""
    gold: Literal["rationales", "answers", "none"] = "rationales"
    """What is known of the public questions: rationales with their answers, answers alone, or nothing but the text."""
    hard: float = Field(default=0.0, ge=0, le=1)
    """Share of the public questions that chain five or six verbs, more than any shipped model was taught."""
    public_domains: tuple[str, ...] = Field(default=(), strict=False, exclude_if=_none)
    """The domains of public questions that are of one domain; none: all."""
    mixed: tuple[Annotated[tuple[str, ...], Field(strict=False, min_length=2)], ...] = Field(
        default=(), strict=False, exclude_if=_none
    )
    """Domains whose verbs a question chains together in the wording of yet another, such as `[[warehouse, clinic]]`:
    public questions and test questions."""
    mixed_share: float = Field(default=0.0, ge=0, le=1, exclude_if=_none)
    """Share of the public questions that are mixed, spread evenly over `mixed`."""
    mixed_test: int = Field(default=0, ge=0, le=10_000_000, exclude_if=_none)
    """Test questions of each of `mixed`."""
    known: tuple[str, ...] = Field(default=(), strict=False, exclude_if=_none)
    """Domains that the server's LLM knows. Where they are named, results tell how parties do on what is new to them: of
    these, the domains that a client's private data lacks, and for the LLM the clients' domains that it does not
    know."""
    shorthand: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default={}, exclude_if=_none)
    """By client: the share of its private rationales that skip the computation of its own domain's verbs."""
    styles: bool = Field(default=False, exclude_if=_none)
    """Whether results tell in which styles the paths are written that parties chose to learn. No method sees it."""

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
    """Which column of a file holds what. Only the question, or a conversation, must be in every file."""

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
    """What the task's verifier needs to know of the question, as text, such as tests."""
    messages: str = "messages"
    """A conversation in the place of question and answer: a list of messages, or JSON text of one."""


class PartitionOptions(Options):
    """How samples find their clients.

    domain: each client gets the domains it lists; domains nobody lists are dealt in turn to the clients that list
    none, and a domain with several owners is dealt evenly among them. dirichlet: each domain is split in proportions
    drawn from a symmetric Dirichlet distribution (Hsu et al. 2019, arXiv:1909.06335, with domains as labels). given:
    by the client column. iid: dealt evenly.
    """

    by: Literal["domain", "dirichlet", "given", "iid"] = "domain"
    """By the domains that clients list, by a Dirichlet draw, by the client column, or evenly."""
    alpha: float = Field(default=0.5, ge=1e-3, le=1e6, allow_inf_nan=False)
    """Concentration of `dirichlet`: small is skewed, large is even."""


class FilesTask(Options):
    """Where the data lies and how it is used. Relative paths start at the configuration's folder."""

    kind: Literal["files"] = "files"
    """Own files."""
    train: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """The clients' private samples, each with an answer, in one file or several. None only at the server of a
    deployment, which has none of them."""
    public: str
    """The questions that everybody knows; answers are optional."""
    test: str | None = None
    """Questions nobody trains on, each with an answer; None holds `test_share` of each client's samples back."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of each client's samples that is held back where there is no test file."""
    replay: str | None = None
    """General samples that every party has and replays so that it forgets nothing."""
    columns: Columns = Columns()
    """What the columns are called."""
    partition: PartitionOptions = PartitionOptions()
    """How private samples find their clients."""
    answer: str = "auto"
    """How answers are read and compared: the name of an answer kind (see lada.tasks.answers)."""
    verifier: VerifierOptions | None = None
    """What says which answers to public and test questions are right; None: they are compared with the gold answer.
    With one, test rows need no answer and training rows only a rationale."""
    public_limit: Samples | None = None
    """Use this many public samples, chosen at random from the run's seed."""
    private_limit: Samples | None = None
    """Use this many private samples per client, chosen at random from the run's seed."""


class HubTask(Options):
    """Which corpus, where it lies and how much of it is used."""

    kind: Literal["corpus"] = "corpus"
    """A public corpus."""
    corpus: str
    """The name of a shipped corpus, or the path of your own YAML file."""
    source: str | None = None
    """None: the hub. Else a folder saved by `datasets`, a folder of files that are named after their splits, or one
    file (.jsonl, .json, .parquet, .csv). Relative paths start at the configuration's folder."""
    revision: str | None = None
    """A commit, branch or tag on the hub, before that of the corpus."""
    public: Samples = 1000
    """Public questions."""
    private: Samples = 800
    """Private questions per client at most."""
    test: Samples = 500
    """Test questions at most."""
    rows: Samples = 20_000
    """Rows of a split that are looked at, at most: nobody waits for millions."""
    verifier: VerifierOptions | None = None
    """What says which answers are right; None: they are compared with the gold answer."""
    partition: PartitionOptions | None = None
    """None: by domain where the corpus has domains, else evenly (iid)."""


class GymTask(Options):
    """Which generators make the questions. Each is a domain."""

    kind: Literal["reasoning_gym"] = "reasoning_gym"
    """Questions made by reasoning-gym."""
    generators: dict[str, dict[str, Any]] = Field(min_length=1)
    """The generators by name, each with its own options, such as `{chain_sum: {max_terms: 4}, gcd: {}}`. They are the
    domains that clients list."""
    public: Samples = 1000
    """Public questions, spread evenly over all generators."""
    private: Samples = 800
    """Private questions per client, spread evenly over its generators."""
    test_per_domain: Samples = 100
    """Test questions of each generator."""
    threshold: float = Field(default=1.0, gt=0, le=1)
    """The least score of a right answer; many verifiers give a part of 1 for a part of the answer."""
    answer: str = "auto"
    """How an answer is found in a path, for the verifier to score (see lada.tasks.answers)."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """How long a verifier may take for one answer."""


class FamiliesTask(Options):
    """How many questions of reasoning-gym's families to draw, alone and chained, and of which world."""

    kind: Literal["families"] = "families"
    """Families of reasoning-gym with rationales, levels and chains of two (see lada.tasks.families)."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Which client has which family, where clients list none, and what the generators are seeded with."""
    families: tuple[str, ...] = ()
    """The families that are asked; none named: all of them. They are the domains that clients list."""
    public: Samples = 1000
    """Public questions, spread evenly over all families, and over all pairs of them that chain."""
    mixed: float = Field(default=0.5, ge=0, le=1)
    """Share of the public questions that chain two families: the answer of one is an operand of the other."""
    private: Samples = 600
    """Private questions per client, spread evenly over its families; fewer where a family has fewer."""
    test_per_domain: Samples = 100
    """Test questions of each family and each general skill, spread evenly over the levels; fewer where there are
    fewer."""
    test_mixed: int = Field(default=100, ge=0, le=10_000_000)
    """Test questions that chain two families."""
    replay: int = Field(default=400, ge=0, le=10_000_000)
    """Questions of the general skills that every party replays so that it forgets none."""
    gold: Literal["rationales", "answers", "none"] = "rationales"
    """What is known of the public questions: rationales with their answers, answers alone, or nothing but the text."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """How long a verifier may take for one answer."""


TaskOptions = Annotated[BuiltinTask | FilesTask | HubTask | GymTask | FamiliesTask, Field(discriminator="kind")]
"""A union told apart by `kind`; use it as a field's type, or with pydantic.TypeAdapter."""
