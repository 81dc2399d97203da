"""One study: a learner trains on lessons with an objective, whose state is carried from step to step."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lada.core.errors import InputError, of_method
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.seeds import generator
from lada.core.terms import Lesson, Likelihood
from lada.models.base import Course, Progress, Study, StudyReport, silent
from lada.models.batches import shuffled_batches, steps_of
from lada.models.compiled import compiled
from lada.models.encoding import Company, Encoded, RowEncoder, buckets
from lada.models.halving import Halving, is_out_of_memory, within_memory
from lada.models.masters import Masters
from lada.models.objective import Done, Objective, Sizes
from lada.models.private import one_by_one, private_training
from lada.models.ranks import Ranks
from lada.models.scoring import Rows, Scorer
from lada.models.training import Steer, add_gradients, make_optimizer, optimise, steered


@dataclass(frozen=True, slots=True)
class Workplace:
    """The parts of a learner that a study works with."""

    model: Any
    encoder: RowEncoder
    masters: Masters
    halving: Halving
    company: Company
    compile: bool
    judged: Callable[[Sequence[Encoded]], list[Likelihood]]
    """Returns the likelihoods of rows' completions."""
    scored: Callable[[Sequence[Encoded]], list[Tensor]]
    """Returns the log-probs of the tokens of rows' completions."""
    steer: Steer | None = None
    """Returns the changed gradients of a step, by the names of the weights; None leaves gradients unchanged."""


class Trainer:
    """One study, or one rank's share of a study."""

    def __init__(
        self,
        place: Workplace,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course,
        ranks: Ranks,
        progress: Progress = silent,
    ) -> None:
        """Raises InputError without lessons."""
        if not lessons:
            raise InputError("study: there are no lessons; the filter left nothing to learn from")
        self._place, self._objective, self._study = place, objective, study
        self._seed, self._course, self._ranks, self._progress = seed, course, ranks, progress
        self._needs = objective.needs
        self._rows = Rows.of(
            place.encoder, lessons, rejected=self._needs.rejected, alternatives=self._needs.alternatives
        )
        self._trained, self._held = _apart(len(lessons), self._needs.held_out, seed)
        self._steps = steps_of(study, [self._rows.counts[i] for i in self._trained], seed)
        state = course.state
        with of_method("objective", objective.title, unless=is_out_of_memory):
            self._state: State = objective.init(course.seed, sizes_of(place.model)) if state is None else state
            self._own = {
                name: nn.Parameter(torch.tensor(self._state[name], dtype=torch.float32, device=place.model.device))
                for name in objective.trained
            }
        self._observed: dict[str, Tensor] = {}
        self._watches = course.watch and study.dp is None
        self._attempt: list[tuple[list[int], Tensor]] = []
        self._watched: list[tuple[int, int, float]] = []
        self._losses: list[float] = []
        self._tokens = 0

    def notices(self) -> tuple[str, ...]:
        """Return notices for the user about how the lessons are studied."""
        count, size = len(self._held), self._study.micro_batch_size
        told = []
        if self._needs.held_out:
            told.append(f"{counted(count, 'lesson')} of {len(self._rows.lessons)} held out by the objective")
        if self._needs.couples_batch and size is not None and size < self._study.batch_size:
            told.append(f"micro_batch_size, {size}, has no effect: the objective couples the lessons of a batch")
        return tuple(told)

    def train(self) -> StudyReport:
        """Run the study and return its report; the model ends with the same weights in all ranks."""
        place, ranks, study = self._place, self._ranks, self._study
        if ranks.size > 1:
            place.masters.keep()
            ranks.agree(weight for weight in place.model.parameters() if weight.requires_grad)
        reference = reference_sums(place.judged, self._rows, ranks) if self._needs.reference else {}
        old = old_log_probs(place.scored, self._rows, ranks) if self._needs.old else {}
        self._scorer = Scorer(place.model, place.encoder.pad, place.company, self._rows, self._needs, reference, old)
        place.model.train()
        try:
            with (
                torch.random.fork_rng(),
                within_memory("model: training it"),
                compiled(place.model) if place.compile else nullcontext(),
                place.masters.training(
                    lambda weights: make_optimizer(self._with_own(weights), study.optimisation)
                ) as trained,
            ):
                weights, self._optimizer = self._weights, _ = trained
                torch.manual_seed(self._seed + ranks.rank)  # dropout
                steps, train = self._plan()
                skipped = train(
                    self._with_own(weights),
                    self._optimizer,
                    steps,
                    self._steps,
                    options=study.optimisation,
                    on_step=self._on_step,
                )
        finally:
            place.model.eval()
        return self._report(skipped)

    def _plan(self) -> tuple[Iterable[tuple[int, Any]], Callable[..., int]]:
        """Return the numbered steps, in the form for the training loop, and the training loop itself."""
        study, trained = self._study, self._trained
        if study.dp is not None:
            order, train = private_training(study.dp, len(trained), study.batch_size, self._steps, self._seed)
            batches = enumerate([trained[i] for i in batch] for batch in order)
            return ((n, one_by_one(partial(self._micro_batches, n, size=1))(batch)) for n, batch in batches), train
        lengths = [self._rows.lengths[i] for i in trained]
        order = shuffled_batches(lengths, study.batch_size, self._steps, np.random.default_rng(self._seed))
        batches = enumerate([trained[i] for i in batch] for batch in order)
        return ((number, partial(self._gradients, number, batch)) for number, batch in batches), optimise

    def _gradients(self, number: int, batch: list[int]) -> float:
        """Store the gradients of a step in the weights, and return its loss."""
        self._tokens += sum(self._rows.counts[i] for i in batch)

        def add(size: int) -> float:
            self._observed, self._attempt = {}, []  # a retry after running out of memory observes everything again
            return add_gradients(self._optimizer, self._micro_batches(number, batch, size))

        if self._needs.couples_batch:
            with within_memory(
                f"a batch of {len(batch)}, which objective {self._objective.title!r} does not allow to split,"
            ):
                loss = add(len(batch))
        else:
            wish = min(self._study.micro_batch_size or len(batch), len(batch))
            loss = self._place.halving.fit("study", wish, add)
        weights = [p for group in self._optimizer.param_groups for p in group["params"]]
        loss = self._ranks.add_gradients(weights, loss)
        steered(self._weights, self._place.steer)
        return loss

    def _micro_batches(self, number: int, batch: list[int], size: int) -> Iterator[Callable[[], Tensor]]:
        """Yield a function that returns the loss, for each part of a batch with at most `size` lessons."""
        whole, mine = self._scorer.whole(batch), self._ranks.share(batch)
        parts = list(buckets([len(self._rows.chosen[i]) for i in mine], size))
        held = self._held_batch(number)
        held_whole, its = self._scorer.whole(held), self._ranks.share(held)
        for place, part in enumerate(parts):
            rows = [mine[i] for i in part]
            yield partial(self._loss, number, rows, whole, its[place :: len(parts)], held_whole)

    def _loss(
        self,
        number: int,
        rows: list[int],
        whole: Mapping[str, float],
        held: list[int],
        held_whole: Mapping[str, float],
    ) -> Tensor:
        """Return the loss of a micro-batch."""
        more: dict[str, Any] = {"observe": self._observe} if self._needs.observes else {}
        if held:
            more["held_out"] = self._scorer.score(held, **held_whole)
        scored = self._scorer.score(rows, **whole, **self._at(number), state=self._state, parameters=self._own, **more)
        if self._watches:
            means = -scored.log_probs.detach().sum(1) / scored.mask.sum(1).clamp(min=1)
            self._attempt.append((rows, means))
        title = self._objective.title
        with of_method("objective", title, unless=is_out_of_memory):
            loss = self._objective(scored)
            if not isinstance(loss, Tensor) or loss.ndim:
                raise InputError(f"objective {title!r}: its loss is not a scalar tensor; fix the method")
        return loss

    def _held_batch(self, number: int) -> list[int]:
        """Return the held-out lessons for a step, at most as many as a batch has."""
        if not self._held:
            return []
        count = min(self._study.batch_size, len(self._held))
        return generator(self._seed, "held out", number).choice(self._held, count, replace=False).tolist()

    def _at(self, number: int) -> dict[str, int]:
        """Return the numbers of a step, as in Scored and Done."""
        course = self._course
        return {
            "step": number,
            "steps": self._steps,
            "run_step": course.run_step + number,
            "run_steps": course.run_step + self._steps * course.rounds_left,
        }

    def _observe(self, name: str, value: Tensor) -> None:
        value = value.detach().to("cpu", torch.float64)
        self._observed[name] = self._observed[name] + value if name in self._observed else value

    def _on_step(self, number: int, loss: float, taken: bool) -> None:
        self._losses.append(loss)
        if taken:
            observed = {name: value.numpy() for name, value in self._observed.items()}
            done = Done(**self._at(number), loss=loss, observed=observed)
            with of_method("objective", self._objective.title):
                self._state = self._objective.after_step(self._state, done)
            seen = [pair for rows, means in self._attempt for pair in zip(rows, means.tolist(), strict=True)]
            self._watched += [(number, lesson, mean) for lesson, mean in sorted(seen)]
        self._progress("study", number + 1, self._steps, 0 if self._study.dp else self._tokens)

    def _with_own(self, weights: nn.Module) -> nn.Module:
        """Return a module with `weights` followed by the objective's own parameters."""
        return nn.ModuleList([weights, nn.ParameterList(self._own.values())]) if self._own else weights

    def _report(self, skipped: int) -> StudyReport:
        losses, lessons = self._losses, self._rows.lessons
        tenth = max(1, len(losses) // 10)
        return StudyReport(
            self._steps,
            len(lessons),
            len(self._rows.rejected),
            sum(lesson.soft is not None or lesson.chunks is not None for lesson in lessons),
            0 if self._study.dp else self._tokens,
            float(np.mean(losses[:tenth])),
            float(np.mean(losses[-tenth:])),
            skipped,
            self._rows.unfinished(self._place.encoder.ends),
            sum(not lesson.chosen.strip() for lesson in lessons),
            sum(lesson.chosen_cut for lesson in lessons),
            {**self._state, **{name: weight.detach().cpu().numpy() for name, weight in self._own.items()}},
            self._lesson_losses() if self._watches else {},
        )

    def _lesson_losses(self) -> State:
        steps, lessons, losses = zip(*self._watched, strict=True) if self._watched else ((), (), ())
        return {
            "steps": np.array(steps, np.int64),
            "lessons": np.array(lessons, np.int64),
            "losses": np.array(losses, np.float64),
        }


def _apart(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which of `count` lessons are trained and which are held out: a share of them, at least one if there are
    two."""
    if not share or count < 2:
        return list(range(count)), []
    order = generator(seed, "held out").permutation(count).tolist()
    held = min(count - 1, max(1, round(share * count)))
    return sorted(order[held:]), sorted(order[:held])


def sizes_of(model: Any) -> Sizes:
    """Return the sizes of a model that an objective may need."""
    embeddings = model.get_input_embeddings().weight
    try:
        width = model.config.get_text_config().hidden_size
    except (AttributeError, ValueError):  # several models in one, or another name for it
        width = embeddings.shape[1]
    head = model.get_output_embeddings()
    return Sizes(int(width), int(embeddings.shape[0]), int(getattr(head, "in_features", 0)))


@torch.inference_mode()
def reference_sums(
    judged: Callable[[Sequence[Encoded]], list[Likelihood]], rows: Rows, ranks: Ranks
) -> dict[int, tuple[float, float]]:
    """Return the sums of log-probs of chosen and rejected paths before the study, from their starts on, by lesson."""
    paired = sorted(rows.rejected)
    places = ranks.share(range(len(paired)))
    sums = torch.zeros((len(paired), 2), dtype=torch.float64)
    for column, side in enumerate((rows.chosen, rows.rejected)):
        found = judged([side[i].behind(rows.starts(i)[column]) for i in (paired[place] for place in places)])
        sums[places, column] = torch.tensor([each.total for each in found], dtype=torch.float64)
    return {i: (a, b) for i, (a, b) in zip(paired, ranks.add_up(sums).tolist(), strict=True)}


@torch.inference_mode()
def old_log_probs(scored: Callable[[Sequence[Encoded]], list[Tensor]], rows: Rows, ranks: Ranks) -> dict[int, Tensor]:
    """Return the log-probs of the tokens of the learner's own texts before the study, by lesson, on the CPU.

    They are those of the weights that wrote the texts, if these have not changed since (see lada.rounds.judging).
    """
    own = [i for i, lesson in enumerate(rows.lessons) if lesson.own]
    lengths = [len(rows.chosen[i].completion) for i in own]
    places = ranks.share(range(len(own)))
    found = torch.zeros((len(own), max(lengths, default=0)), dtype=torch.float64)
    for place, each in zip(places, scored([rows.chosen[own[place]] for place in places]), strict=True):
        found[place, : len(each)] = each.double().cpu()
    found = ranks.add_up(found)
    return {i: found[place, :length] for place, (i, length) in enumerate(zip(own, lengths, strict=True))}
