"""The built-in corpus *lineups*: four things stand in a line, and verbs rearrange them.

    harbour line ferry tug yacht barge . a) moor . b) pilot yacht . what order ?
    a) moor : swap 1 2 = tug ferry yacht barge . b) pilot yacht : lead yacht = yacht tug ferry barge .
    answer yacht tug ferry barge

A rationale is one line; only this example breaks it.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from lada.core.seeds import one_of
from lada.tasks.generated import Domain, GeneratedCorpus, Step
from lada.tasks.moves import KINDS, Line, Rule, RuleKind, apply, draw_rule


@dataclass(frozen=True, slots=True)
class LineDomain(Domain):
    """A domain in which four things stand in a line."""

    things: Line


def _line(name: str, things: str, verbs: str) -> LineDomain:
    return LineDomain(name, f"{name} line {{}}", "what order", tuple(verbs.split()), tuple(things.split()))


class Lineups(GeneratedCorpus[LineDomain, Rule, Line]):
    """Every order of a domain's four things; see lada.tasks.moves for what rules do."""

    name = "lineups"
    title = "lineups"
    domains = {  # noqa: RUF012 - nobody writes to it
        domain.name: domain
        for domain in (
            _line("theatre", "king queen clown ghost", "bow curtsey encore prompt rehearse exit cue curtain clap duel"),
            _line("harbour", "ferry tug yacht barge", "moor dock anchor tow launch berth pilot drift reef ballast"),
            _line("garden", "rose tulip lily fern", "plant prune water rake weed mulch sow trim graft dig"),
            _line("library", "atlas novel diary poem", "shelve lend index stamp browse renew bind file quote return"),
            _line("stable", "mare foal pony mule", "saddle gallop trot groom canter bridle feed shoe lunge rein"),
            _line("orchestra", "violin flute drum horn", "tune conduct strum pluck solo chord tempo mute hum echo"),
            _line("market", "apples bread cheese fish", "haggle weigh barter wrap auction stock price bag sell taste"),
        )
    }
    client_domains = ("theatre", "harbour", "garden")
    answers = "text"
    mistaken = "swap"

    def kinds(self, domain: LineDomain) -> tuple[str, ...]:
        """See GeneratedCorpus; of two "argument" verbs one leads and one trails."""
        return KINDS

    def draw_rule(self, kind: str, domain: LineDomain, rng: np.random.Generator, taken: set[Rule]) -> Rule:
        """See GeneratedCorpus."""
        return draw_rule(cast(RuleKind, str(kind)), domain.things, rng, taken)

    def draw_value(self, domain: LineDomain, rng: np.random.Generator) -> Line:
        """See GeneratedCorpus."""
        return tuple(map(str, rng.permutation(domain.things)))

    def draw_argument(self, domain: LineDomain, rng: np.random.Generator) -> str:
        """See GeneratedCorpus."""
        return one_of(rng, domain.things)

    def spell_out(self, domain: LineDomain, rng: np.random.Generator) -> Step[Rule]:
        """See GeneratedCorpus."""
        rule = self.draw_rule(one_of(rng, sorted(set(KINDS))), domain, rng, set())
        moves = rule.moves
        match rule.kind:
            case "argument":
                argument = self.draw_argument(domain, rng)
                return Step(f"{moves[0]} {argument}", rule, argument)
            case "opener":
                words = f"{moves[0]} opener"
            case "first":
                words = f"if {rule.thing} first {moves[0]} else {moves[1]}"
            case _:
                words = " ".join(moves)
        return Step(words, rule)

    def spelled_out(self, domain: LineDomain, words: str) -> Step[Rule]:
        """See GeneratedCorpus."""
        match words.split():
            case ["if", thing, "first", *_]:
                one, other = words.split(" ", 3)[3].split(" else ")
                return Step(words, Rule("first", (one, other), thing))
            case ["lead" | "trail" as end, "opener"]:
                return Step(words, Rule("opener", (end,)))
            case ["lead" | "trail" as end, thing]:
                return Step(words, Rule("argument", (end,)), thing)
            case ["swap", one, other, turn]:
                return Step(words, Rule("two", (f"swap {one} {other}", turn)))
            case ["swap", _, _]:
                return Step(words, Rule("swap", (words,)))
            case _:
                return Step(words, Rule("turn", (words,)))

    def apply(self, step: Step[Rule], value: Line, first: Line, domain: LineDomain) -> tuple[Line, list[str]]:
        """See GeneratedCorpus."""
        return apply(step.rule, value, first, step.argument)

    def show(self, value: Line, domain: LineDomain) -> str:
        """See GeneratedCorpus."""
        return " ".join(value)

    def read(self, text: str, domain: LineDomain) -> Line | None:
        """See GeneratedCorpus."""
        line = tuple(text.split(" "))
        return line if sorted(line) == sorted(domain.things) else None

    def join(self, one: str, other: str) -> str | None:
        """See GeneratedCorpus; the moves are made one after another."""
        return f"{one.partition(' = ')[0]} {other}"


LINEUPS = Lineups()
