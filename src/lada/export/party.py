"""Opens a party of a run, as its last checkpoint left it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lada.config import RunConfig
from lada.config_source import read_config
from lada.core.errors import InputError, nearest
from lada.core.paths import is_file
from lada.core.results import PartyInfo, Results
from lada.core.sealed import unseal
from lada.federation import checkpoints
from lada.federation.parties import check_owner
from lada.learners.base import OtherModel
from lada.models.api_options import ApiModel
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

if TYPE_CHECKING:
    from lada.models.learner import HuggingFaceLearner


@dataclass(frozen=True, slots=True)
class Trained:
    """A party of a run whose weights are on disk."""

    name: str
    config: RunConfig
    options: ModelOptions
    saved: Path
    """The folder of its weights (or its adapter) and its tokenizer."""
    results: Results | None
    """The run's results; None if it has none yet."""

    @property
    def info(self) -> PartyInfo | None:
        """Return the party's part of the run's results; None if the run is not over."""
        parties = self.results.parties if self.results else ()
        return next((party for party in parties if party.name == self.name), None)

    def learner(self, **changes: Any) -> "HuggingFaceLearner":
        """Restore the party's learner; `changes` are options that replace its own. Raises InputError; see `load`."""
        from lada.models.load import load  # here, as below, since a wrong name is reported without it

        # Fully trained weights are complete; an adapter needs its base.
        source = locate(self.options.model) if self.options.tune == "lora" else str(self.saved)
        return load(source, self.options.model_copy(update=changes), saved=self.saved)


def open_party(run: Path, name: str) -> Trained:
    """Return the party `name` of the run in the folder `run`.

    Raises InputError if the folder is not a run's, or if the party is not in the run or has no weights or no checkpoint
    yet. Raises LadaError if its checkpoint was altered.
    """
    config, options, kept = _find(run, name)
    saved = checkpoints.find(kept)[0]
    check_owner(saved, name)
    return Trained(name, config, options, saved / "model", _results(run))


def find_party(run: Path, name: str) -> tuple[ModelOptions, Path]:
    """Return the options of the party `name`, and the folder of its checkpoint, which is not read yet.

    Raises InputError as `open_party` does.
    """
    return _find(run, name)[1:]


def configuration(options: ModelOptions, kept: Path) -> Any:
    """Return the configuration of a party's model without reading weights; None if the checkpoint lacks it.

    `kept` is the folder of its checkpoint. Raises InputError if an adapter's base cannot be loaded.
    """
    from transformers import AutoConfig

    from lada.models.hub import explained

    if options.tune != "lora":  # fully trained weights are complete: their base may be gone
        try:
            return AutoConfig.from_pretrained(checkpoints.newest(kept) / "model", trust_remote_code=False)
        except (OSError, ValueError):  # an altered checkpoint, which is detected when it is verified
            return None
    source = locate(options.model)
    with explained(source, options.revision):
        return AutoConfig.from_pretrained(source, revision=options.revision, trust_remote_code=False)


def _find(run: Path, name: str) -> tuple[RunConfig, ModelOptions, Path]:
    if not is_file(run / "config.yaml"):
        raise InputError(f"run: {str(run)!r} holds no config.yaml; give the folder of a run, such as runs/demo")
    unseal(run / "config.yaml")
    config = read_config(run / "config.yaml")
    models: dict[str, ModelOptions | ApiModel | OtherModel | None] = {config.server.name: config.server.model}
    models |= {client.name: client.model for client in config.clients}
    if name not in models:
        raise InputError(
            f"party: {name!r} is not in this run; expected one of {', '.join(models)}{nearest(name, models)}"
        )
    options = models[name]
    if options is None:
        raise InputError(
            f"party: the model of {name!r} is on that client's own machine; export it there, from its state folder"
        )
    if isinstance(options, OtherModel):
        raise InputError(
            f"party: {name!r} has a learner of another kind, {options.learner!r}, which keeps its weights in a form of "
            "its own; expected a party with a model in Hugging Face format"
        )
    if isinstance(options, ApiModel):
        raise InputError(
            f"party: {name!r} is {options.api.model!r} behind an API, whose weights are not here; expected one of "
            f"{', '.join(client.name for client in config.clients)}"
        )
    kept = run / checkpoints.FOLDER / name
    if not checkpoints.exists(kept):
        raise InputError(
            f"party: {name!r} has no checkpoint in {str(run)!r}; a party is kept when its first round is over, so let "
            "the run go on or run it again"
        )
    return config, options, kept


def _results(run: Path) -> Results | None:
    file = run / "results.json"
    try:
        return Results.model_validate_json(unseal(file)) if file.exists() else None
    except ValidationError as error:
        raise InputError(
            f"run: {str(file)!r} is not what this version of lada writes ({error.error_count()} faults); export with "
            "the version that made the run, or delete the file to export without accuracies"
        ) from error
