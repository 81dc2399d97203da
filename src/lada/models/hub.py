"""Models on the Hugging Face Hub, and explanations if one cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from lada.core.errors import InputError
from lada.core.hub import ask_hub, reason
from lada.core.paths import is_folder
from lada.models.files import EXPECTED
from lada.models.halving import is_out_of_memory


def find_on_hub(name: str, revision: str | None) -> None:
    """Raise InputError, within seconds, unless the hub has the model or must not be asked (HF_HUB_OFFLINE)."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise InputError(f"model: cannot load {name!r}: there is no such folder; {EXPECTED}") from None
    try:
        ask_hub("model", name, revision)
    except Exception as error:  # network errors have no common base
        raise _explanation(error, name, revision) or _unreachable(error, name) from error


@contextmanager
def explained(source: str, revision: str | None = None) -> Iterator[None]:
    """Turn transformers' error for a model that it cannot load into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each architecture's code may raise anything
        if is_out_of_memory(error):
            raise
        advice = EXPECTED if is_folder(source) else f"{EXPECTED}; without the hub, {_bring(source)}"
        fault = InputError(f"model: cannot load {source!r}: {reason(error)}; {advice}")
        raise _explanation(error, source, revision) or fault from error


def _explanation(error: BaseException, name: str, revision: str | None) -> InputError | None:
    """Return the meaning of the hub's refusal in a chain of errors; None if there is none."""
    page = f"{constants.ENDPOINT}/{name}"
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case GatedRepoError():
                return InputError(
                    f"model: {name!r} is gated; ask for access at {page}, then log in with `hf auth login` or set "
                    "HF_TOKEN"
                )
            case RepositoryNotFoundError():
                return InputError(
                    f"model: {name!r} is neither a folder nor on the hub, or it is private; {EXPECTED}; for a private "
                    "one log in with `hf auth login` or set HF_TOKEN"
                )
            case RevisionNotFoundError():
                return InputError(
                    f"model.revision: {name!r} has no {revision!r}; expected a commit, branch or tag; see {page}"
                )
            case HfHubHTTPError() if cause.response is not None and cause.response.status_code == 401:
                return InputError(
                    f"model: {name!r}: the hub does not know your token; log in with `hf auth login`, or set another "
                    "HF_TOKEN, or none"
                )
        cause = cause.__cause__ or cause.__context__
    return None


def _unreachable(error: Exception, name: str) -> InputError:
    return InputError(
        f"model: {name!r} is no folder here, and the hub at {constants.ENDPOINT} cannot be reached: {reason(error)}; "
        f"{_bring(name)}; or set HF_HUB_OFFLINE=1 to use what was downloaded before"
    )


def _bring(name: str) -> str:
    return f"run `hf download {name} --local-dir DIR` on a machine with access, bring DIR here and set model: DIR"
