"""A causal LM in Hugging Face format, in memory."""

from pathlib import Path

from lada.core.registry import Pluggable
from lada.learners.base import LEARNERS
from lada.models.base import Learner
from lada.models.files import check_files
from lada.models.options import ModelOptions
from lada.models.placement import check_backend
from lada.zoo.shipped import locate


@LEARNERS.register(
    "hugging_face", options=ModelOptions, tags=("labels", "feature", "feedback", "self-knowledge", "weights")
)
class HuggingFace(Pluggable):
    """A causal LM in Hugging Face format, in memory; chosen by the key `model.model`."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options

    def check(self) -> None:
        """See Opener.check."""
        from lada.models.load import check  # here, as below, since reading a task does not need a model's code

        source = locate(self.options.model)
        check_files(source)
        check(source, self.options)
        check_backend(self.options.generation)

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Learner:
        """See Opener.open."""
        from lada.models.load import load

        return load(locate(self.options.model), self.options, init_seed=init_seed, saved=saved)
