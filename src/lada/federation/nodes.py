"""Build parties from a configuration, keep them on disk between phases, and let a client's node answer."""

import dataclasses
import hashlib
import json
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from flwr.app import Context

from lada.config import RunConfig, validate
from lada.core.results import PartyInfo
from lada.core.seeds import seed_of
from lada.federation import checkpoints
from lada.hosts.base import Payload
from lada.hosts.party import Emit, Party, Studies
from lada.hosts.reports import report_payload
from lada.models.api import ApiLearner
from lada.models.api_client import read_key
from lada.models.api_options import ApiModel
from lada.models.base import Learner
from lada.models.generation import pick_backend
from lada.models.learner import HuggingFaceLearner
from lada.models.load import check, load
from lada.models.options import ModelOptions
from lada.tasks.data import TaskData
from lada.tasks.load import load_task
from lada.zoo.shipped import locate

FINISH = "finish"
"""The last phase of every run: each client says what it has become."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where and when a run happens: its folder, the folder that relative paths start at, its Unix start time."""

    folder: Path
    base: Path
    started: float

    def checkpoint(self, party: str) -> Path:
        """Return the folder of a party's checkpoint."""
        return self.folder / "checkpoints" / party

    def party(self, name: str) -> Path:
        """Return the folder in which a party keeps what is its own."""
        return self.folder / "clients" / name


def read_task(config: RunConfig, base: Path) -> TaskData:
    """Return the samples of a run; relative paths in the configuration start at `base`."""
    clients = {client.name: client.domains for client in config.clients}
    return load_task(config.task, clients, config.seed, base=base)


def server_party(config: RunConfig, place: Place, task: TaskData, emit: Emit) -> Party:
    """Build the server."""
    server = config.server
    studies = Studies(server.distil, server.distil)
    return _party(config, place, task, emit, name=server.name, model=server.model, studies=studies)


def client_party(config: RunConfig, place: Place, task: TaskData, emit: Emit, name: str) -> Party:
    """Build a client, as its last checkpoint left it where there is one."""
    client = next(client for client in config.clients if client.name == name)
    return _party(
        config, place, task, emit, name=name, model=client.model, studies=Studies(client.private, client.distil)
    )


def check_model(model: ModelOptions | ApiModel) -> None:
    """Raise InputError for what can be told at once to be missing: a model's files or package, the key of its API."""
    if isinstance(model, ApiModel):
        read_key(model.api)
    else:
        check(locate(model.model), model)
        pick_backend(model.generation)


def _learner(model: ModelOptions | ApiModel, place: Place, *, init_seed: int, saved: Path | None) -> Learner:
    if isinstance(model, ApiModel):
        return ApiLearner(model.api, place.base)
    return load(locate(model.model), model, init_seed=init_seed, saved=saved)


def _party(
    config: RunConfig,
    place: Place,
    task: TaskData,
    emit: Emit,
    *,
    name: str,
    model: ModelOptions | ApiModel,
    studies: Studies,
) -> Party:
    kept = place.checkpoint(name)
    files = checkpoints.load(kept) if checkpoints.exists(kept) else {}
    party = Party(
        name=name,
        role="client" if name in task.private else "server",
        learner=_learner(
            model,
            place,
            init_seed=seed_of(config.seed, name, "lora"),
            saved=kept / "model" if files else None,
        ),
        # What the others hold privately is not even in this party's memory.
        task=dataclasses.replace(task, private={}),
        private=task.private.get(name, ()),
        allocator=config.make_allocator(),
        objective=config.make_objective(),
        studies=studies,
        seed=config.seed,
        folder=place.party(name),
        emit=emit,
        clock=lambda: time.time() - place.started,
    )
    if files:
        for key, array in checkpoints.bytes_to_arrays(files["state.safetensors"]).items():
            pair, _, part = key.partition("|")
            if pair == "memory":
                party.memory[part] = array.tobytes()
            else:
                party.states[pair] = {**party.states.get(pair, {}), part: array}
    return party


def keep(party: Party, place: Place) -> None:
    """Write a party's checkpoint: its plug-ins' state and, but for a learner behind an API, weights and tokenizer."""
    arrays = {f"{pair}|{part}": array for pair, state in party.states.items() for part, array in state.items()}
    arrays |= {f"memory|{key}": np.frombuffer(data, np.uint8) for key, data in party.memory.items()}
    with TemporaryDirectory() as staging:
        party.learner.save(Path(staging))
        files = {f"model/{file.name}": file.read_bytes() for file in Path(staging).iterdir()}
    checkpoints.save(place.checkpoint(party.name), {**files, "state.safetensors": checkpoints.arrays_to_bytes(arrays)})


def describe(party: Party) -> PartyInfo:
    """Say who a party is and what it has become."""
    domains = party.task.own_domains.get(party.name, frozenset())
    architecture, parameters, weights = _inside(party.learner)
    return PartyInfo(
        name=party.name,
        role=party.role,
        model=party.learner.name,
        architecture=architecture,
        parameters=parameters,
        domains=tuple(sorted(domains)),
        private_samples=len(party.private),
        weights=weights,
    )


def _inside(learner: Learner) -> tuple[str, int, str]:
    """Return architecture, parameters and digest of the weights; of a model behind an API nothing is known."""
    if not isinstance(learner, HuggingFaceLearner):
        return "api", 0, ""
    model = learner.model
    return model.config.model_type, sum(p.numel() for p in model.parameters()), weights_digest(model)


def notices_before(config: RunConfig) -> tuple[str, ...]:
    """Return what the user should know of a run before it starts."""
    if not config.server_only_teaches:
        return ()
    return (f"{config.server.name} is behind an API and cannot study: SLM→LLM is switched off, it only teaches",)


def notices_after(party: Party) -> tuple[str, ...]:
    """Return what the user should know of the server when a run is over."""
    return (f"{party.name} took {party.learner.spent}",) if isinstance(party.learner, ApiLearner) else ()


def weights_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 over names, dtypes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Node:
    """A client's node: for each message it brings its party back from disk, so any process may answer."""

    def __init__(self, config: RunConfig, place: Place, name: str, emit: Emit) -> None:
        self._config, self._place, self._name, self._emit = config, place, name, emit

    def handle(self, phase: str, round: int, payload: Payload) -> Payload:
        """Run the client half of one phase, keep what it changed, and return the reply."""
        task = _task(self._config.model_dump_json(), self._place.base)
        party = client_party(self._config, self._place, task, self._emit, self._name)
        if phase == FINISH:
            party.note(parties=(describe(party),))
            return report_payload(party)
        reply = self._config.make_host().reply(phase, party, round, payload)
        keep(party, self._place)
        return reply


@cache
def _task(config: str, base: Path) -> TaskData:
    return read_task(RunConfig.model_validate_json(config), base)


def open_node(context: Context, emit: Emit) -> Node:
    """Make the node that `node_config` described."""
    run = json.loads(str(context.node_config["config"]))
    place = Place(Path(run["folder"]), Path(run["base"]), float(run["started"]))
    return Node(validate(RunConfig, run["config"]), place, str(context.node_config["name"]), emit)


def node_config(config: RunConfig, place: Place) -> str:
    """Return what `open_node` reads, as JSON; it is the same for every client."""
    return json.dumps(
        {
            "config": config.model_dump(mode="json"),
            "folder": str(place.folder),
            "base": str(place.base),
            "started": place.started,
        }
    )
