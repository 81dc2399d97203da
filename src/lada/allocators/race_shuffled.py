"""A control of the race: it shows whether the outcome of the trials matters."""

from dataclasses import replace

from lada.allocators.base import ALLOCATORS, Candidates
from lada.allocators.race import Finish, Learnability, RaceOptions, needs_of
from lada.core.seeds import generator


@ALLOCATORS.register(
    "race_shuffled",
    options=RaceOptions,
    status="our reading",
    needs=needs_of,
    by_order="places are drawn, as by `race`",
    tags=("labels", "feature", "feedback"),
)
class RaceShuffled(Learnability):
    """The race, but a coin decides whether its two copies swap their rewards. A control for benchmarks."""

    def credit(self, candidates: Candidates, race: Finish) -> Finish:
        """See Learnability.credit. On tails the rewards change places, and the worse copy is preferred."""
        texts = [path.text for path in candidates.teacher_paths]  # or the coin would fall alike in all worlds
        if generator(candidates.seed, "shuffled", *texts).random() < 0.5:
            return race
        return replace(race, one=race.other, other=race.one)
