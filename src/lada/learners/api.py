"""An LLM behind an API."""

from pathlib import Path

from lada.core.registry import Pluggable
from lada.learners.base import LEARNERS
from lada.models.api_options import ApiModel, ApiOptions
from lada.models.base import Learner
from lada.zoo.shipped import locate


@LEARNERS.register("api", options=ApiModel, tags=("labels", "feature", "feedback"))
class Api(Pluggable):
    """An LLM behind an OpenAI-compatible API, only for a server; chosen by the key `model.api`."""

    def __init__(self, options: ApiModel) -> None:
        self.options = options

    def check(self) -> None:
        """See Opener.check."""
        from lada.models.api import check_api  # here, as below, since reading a task does not need it

        check_api(located(self.options.api))

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Learner:
        """See Opener.open: nothing is drawn or restored."""
        from lada.models.api import ApiLearner

        return ApiLearner(located(self.options.api), base)


def located(api: ApiOptions) -> ApiOptions:
    """Return options of an API with the folder of a shipped tokenizer filled in."""
    return api if api.tokenizer is None else api.model_copy(update={"tokenizer": locate(api.tokenizer)})
