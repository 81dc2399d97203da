"""Run an experiment from its configuration: the public Python API behind `lada.run` and `lada.demo`."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from lada import examples
from lada.config import RunConfig, make_config
from lada.config_source import Source, open_config
from lada.core.errors import InputError
from lada.core.names import check_name
from lada.core.owner import for_owner
from lada.core.paths import is_folder
from lada.engines.server import check_deployment, deploy
from lada.engines.simulation import check_simulation, simulate
from lada.federation import begun, run_folder
from lada.federation.parties import Place
from lada.federation.prepared import Prepared, given, prepare
from lada.federation.run import Run, ignore
from lada.federation.run_lock import run_lock
from lada.models.quiet import no_bars
from lada.points import registries_frozen
from lada.report.interactive import RunResults
from lada.rounds.party import Emit
from lada.watching.live import showing


@for_owner()
@no_bars()
def run(
    config: Source,
    *,
    name: str | None = None,
    runs: str | Path = "runs",
    overrides: tuple[str, ...] = (),
    progress: bool = False,
    emit: Emit = ignore,
    resume: bool = False,
    federation: Path | None = None,
    common: Path | None = None,
) -> RunResults:
    """Run an experiment and return its typed results, with their folder.

    `config` is a RunConfig, plain data of the same form, or the path of a YAML file; `overrides` are `key=value`
    strings. It may also be a result of `lada.config_source.open_config`; `overrides` are then ignored. The run's folder
    is `runs/<name>`, with a number appended if that exists. Relative paths in a file start at its folder, else at the
    working directory. With `progress`, the terminal or notebook shows what `lada run` shows. `emit` receives every
    event as it happens.

    With `resume`, the newest run of that name continues where it stopped, and its results are bit for bit those of an
    uninterrupted run. If there is none, a run begins. If a run's folder is given instead of a configuration, that run
    is resumed.

    `federation` is the server's folder of a deployment, for `engine: deployment`. `common` is a folder in which runs of
    `engine: local`, by one version of the code, share studies and answers that other runs would compute with the same
    weights. Results are bit for bit the same without it. The caller removes the folder.

    `results.missing` lists the clients that were lost; it is empty if all took part in everything.

    Raises InputError if configuration, data or models are wrong, if possible before anything is trained;
    FederationError if fewer clients than the quorum answer; StudyError if the server's own study failed. All results so
    far stay in the run's folder.
    """
    with showing(emit) if progress else nullcontext(emit) as told:
        if resume and isinstance(config, (str, Path)) and is_folder(config):
            then, place = run_folder.read(Path(config))
            config = make_config(then.model_dump(mode="json"), overrides)
            return _go(config, then, replace(place, common=common), told, federation)
        runs = Path(runs)
        config, base = open_config(config, overrides)
        config = config if name is None else config.model_copy(update={"name": check_name("--name", name)})
        folder = run_folder.newest(runs, config.name) if resume else None
        if folder and run_folder.is_begun(folder):
            then, place = run_folder.read(folder)
            return _go(config, then, replace(place, common=common), told, federation)
        prepared = _prepare(config, base, federation)
        place = run_folder.begin(folder, config, base) if folder else run_folder.new(runs, config, base)
        begun.write(place.folder, given(config, prepared[0]))
        return _start(config, prepared, replace(place, common=common), told, federation)


def demo(
    *,
    name: str | None = None,
    runs: str | Path = "runs",
    overrides: tuple[str, ...] = (),
    progress: bool = True,
    resume: bool = False,
) -> RunResults:
    """Run LaDa end to end on the built-in corpus with the shipped tiny models. It takes a few minutes on a laptop.

    Arguments and exceptions are those of `run`.
    """
    with examples.demo() as config:
        return run(config, name=name, runs=runs, overrides=overrides, progress=progress, resume=resume)


def _go(config: RunConfig, then: RunConfig, place: Place, emit: Emit, federation: Path | None) -> RunResults:
    """Resume a run. Raises InputError if configuration, data or models differ from those that it began with."""
    run_folder.check_same(config, then, place.folder)
    prepared = _prepare(config, place.base, federation)
    if changed := begun.changed(place.folder, given(config, prepared[0])):
        raise InputError(
            f"--resume: {', '.join(changed)}: they are not those that {str(place.folder)!r} began with; restore "
            "them, or begin a new run without --resume"
        )
    return _start(config, prepared, place, emit, federation)


def _start(config: RunConfig, prepared: Prepared, place: Place, emit: Emit, federation: Path | None) -> RunResults:
    """Run in this process, or wherever the engine runs it."""
    if config.engine == "simulation":
        results = simulate(config, place, emit)
    elif config.engine == "deployment":
        assert federation is not None
        results = deploy(config, place, emit, federation)
    else:
        with registries_frozen(), run_lock(place.folder):
            results = Run(config, place, emit, *prepared).go()
    return RunResults.in_folder(results, place.folder)


def _prepare(config: RunConfig, base: Path, federation: Path | None = None) -> Prepared:
    """Return the task and the trackers. Raises InputError for data, models or an engine that cannot be used."""
    if config.engine == "simulation":
        check_simulation()
    if config.engine == "deployment":
        check_deployment(config, federation)
    return prepare(config, base)
