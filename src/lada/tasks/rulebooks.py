"""The built-in corpus *skills and rulebooks*: verbs add, subtract and multiply.

7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?
a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from lada.core.seeds import one_of
from lada.tasks.generated import Domain, GeneratedCorpus, Step
from lada.tasks.rules import HIGHEST, KINDS, WEEKDAYS, Rule, RuleKind, Scale, apply, draw_rule, show


@dataclass(frozen=True, slots=True)
class ScaleDomain(Domain):
    """A domain whose values are on one scale."""

    scale: Scale


def _numbers(name: str, unit: str, verbs: str) -> ScaleDomain:
    return ScaleDomain(name, f"{{}} {unit} in the {name}", f"how many {unit}", tuple(verbs.split()), "number")


class Rulebooks(GeneratedCorpus[ScaleDomain, Rule, int]):
    """Numbers 0 to 20, and weekdays; see lada.tasks.rules for what rules do."""

    name = "rulebooks"
    title = "skills and rulebooks"
    domains = {  # noqa: RUF012 - nobody writes to it
        domain.name: domain
        for domain in (
            _numbers("warehouse", "boxes", "pallet spoil restock ship crate recall bundle audit sort stack"),
            _numbers("clinic", "patients", "triage admit discharge refer vaccinate transfer scan screen relapse ward"),
            _numbers("kitchen", "eggs", "whisk frost bake serve crack fold chill glaze roast peel"),
            _numbers("bank", "coins", "deposit invest levy loan refund split bonus fee hedge mint"),
            _numbers("farm", "sheep", "breed shear graze herd fence market lamb wean cull pasture"),
            _numbers("school", "pupils", "enrol exam recess grade expel mentor tutor honour excuse merge"),
            ScaleDomain(
                "railway",
                "the train leaves on {}",
                "which day",
                ("delay", "express", "detour", "holiday", "layover", "night", "local", "freight", "signal", "return"),
                "weekday",
            ),
        )
    }
    client_domains = ("warehouse", "clinic", "kitchen")
    answers = "word"
    mistaken = "constant"

    def kinds(self, domain: ScaleDomain) -> tuple[str, ...]:
        """See GeneratedCorpus; two "argument" verbs are one plus and one minus."""
        return KINDS[domain.scale]

    def draw_rule(self, kind: str, domain: ScaleDomain, rng: np.random.Generator, taken: set[Rule]) -> Rule:
        """See GeneratedCorpus."""
        return draw_rule(cast(RuleKind, kind), domain.scale, rng, taken)

    def draw_value(self, domain: ScaleDomain, rng: np.random.Generator) -> int:
        """See GeneratedCorpus."""
        return int(rng.integers(0, HIGHEST + 1 if domain.scale == "number" else len(WEEKDAYS)))

    def draw_argument(self, domain: ScaleDomain, rng: np.random.Generator) -> str:
        """See GeneratedCorpus."""
        return str(rng.integers(1, 10 if domain.scale == "number" else 4))

    def spell_out(self, domain: ScaleDomain, rng: np.random.Generator) -> Step[Rule]:
        """See GeneratedCorpus."""
        scale = domain.scale
        rule = draw_rule(one_of(rng, sorted(set(KINDS[scale]))), scale, rng, set())
        plus, minus = ("add", "take") if scale == "number" else ("later", "sooner")

        def say(amount: int) -> str:
            return f"{plus if amount > 0 else minus} {abs(amount)}"

        match rule.kind:
            case "argument" | "constant":
                # A spelled-out verb shows its number, so both kinds read alike: "add 4".
                rule = Rule("constant", (rule.amounts[0] * int(self.draw_argument(domain, rng)),))
                words = say(rule.amounts[0])
            case "times":
                words = {2: "double", 3: "triple"}[rule.amounts[0]]
            case "two":
                words = " ".join(map(say, rule.amounts))
            case "threshold":
                words = f"if over {show(rule.limit, scale)} {say(rule.amounts[0])} else {say(rule.amounts[1])}"
            case "first":
                words = f"{plus if rule.amounts[0] > 0 else minus} first"
        return Step(words, rule)

    def spelled_out(self, domain: ScaleDomain, words: str) -> Step[Rule]:
        """See GeneratedCorpus."""
        signs = {"add": 1, "later": 1, "take": -1, "sooner": -1}
        tokens = words.split()
        if tokens[0] in ("double", "triple"):
            return Step(words, Rule("times", (2 if tokens[0] == "double" else 3,)))
        if tokens[0] == "if":
            limit = WEEKDAYS.index(tokens[2]) if domain.scale == "weekday" else int(tokens[2])
            amounts = (signs[tokens[3]] * int(tokens[4]), signs[tokens[6]] * int(tokens[7]))
            return Step(words, Rule("threshold", amounts, limit))
        if tokens[1] == "first":
            return Step(words, Rule("first", (signs[tokens[0]],)))
        amounts = tuple(signs[tokens[i]] * int(tokens[i + 1]) for i in range(0, len(tokens), 2))
        return Step(words, Rule("two" if len(amounts) == 2 else "constant", amounts))

    def apply(self, step: Step[Rule], value: int, first: int, domain: ScaleDomain) -> tuple[int, list[str]]:
        """See GeneratedCorpus."""
        argument = None if step.argument is None else int(step.argument)
        return apply(step.rule, value, first, argument, domain.scale)

    def show(self, value: int, domain: ScaleDomain) -> str:
        """See GeneratedCorpus."""
        return show(value, domain.scale)

    def read(self, text: str, domain: ScaleDomain) -> int | None:
        """See GeneratedCorpus."""
        last = HIGHEST if domain.scale == "number" else len(WEEKDAYS) - 1
        return next((value for value in range(last + 1) if show(value, domain.scale) == text), None)

    def join(self, one: str, other: str) -> str | None:
        """See GeneratedCorpus; a product is not joined with a sum."""
        before, _, value = one.rpartition(" = ")
        return None if "*" in one + other else f"{before} {other.removeprefix(f'{value} ')}"

    @property
    def mixable(self) -> tuple[str, ...]:
        """See GeneratedCorpus; weekdays are not numbers."""
        return tuple(name for name, domain in self.domains.items() if domain.scale == "number")


RULEBOOKS = Rulebooks()
