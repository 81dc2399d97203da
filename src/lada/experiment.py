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
    """Run an experiment and return its typed results, with the folder that they are from.

    `config` is a RunConfig, plain data of the same form, or the path of a YAML file; `overrides` are `key=value`
    strings. It may also be what `lada.config_source.open_config` made of these, and `overrides` then play no part. The
    run's folder is `runs/<name>`, with a number behind it where that exists; relative paths in a file
    start at its folder, else at the working directory. With `progress` the terminal or notebook shows what `lada run`
    shows. `emit` gets every event as it happens.

    With `resume` the newest run of that name goes on where it stopped, to the same bits as if it had not; where there
    is none, it begins. The path of a run's folder in the place of a configuration resumes that run.

    `federation` is the server's folder of a deployment, for `engine: deployment`. `common` is a folder in which runs of
    `engine: local`, by one version of the code, leave studies and answers for others that would do the same with the
    same weights; the bits are those of a run without it. It is the caller's to remove.

    `results.missing` has who was lost on the way, and is empty where everybody took part in everything.

    Raises InputError where configuration, data or models are wrong, before anything is trained wherever that can be
    told; FederationError where fewer clients than the quorum answer; StudyError where the server's own study came to
    nothing. What was computed by then stays in the run's folder.
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
    """Run LaDa end to end on the built-in corpus with the shipped tiny models; a few minutes on a laptop.

    The arguments, and what is raised, are those of `run`.
    """
    with examples.demo() as config:
        return run(config, name=name, runs=runs, overrides=overrides, progress=progress, resume=resume)


def _go(config: RunConfig, then: RunConfig, place: Place, emit: Emit, federation: Path | None) -> RunResults:
    """Go on with a run. Raises InputError where configuration, data or models are not those that it was begun with."""
    run_folder.check_same(config, then, place.folder)
    prepared = _prepare(config, place.base, federation)
    if changed := begun.changed(place.folder, given(config, prepared[0])):
        raise InputError(
            f"--resume: {', '.join(changed)}: they are not those that {str(place.folder)!r} was begun with; put them "
            "back, or begin a new run without --resume"
        )
    return _start(config, prepared, place, emit, federation)


def _start(config: RunConfig, prepared: Prepared, place: Place, emit: Emit, federation: Path | None) -> RunResults:
    """Run here, or where the engine has it run."""
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
    """Return the task and the trackers; raise InputError for data, models or an engine that cannot be used."""
    if config.engine == "simulation":
        check_simulation()
    if config.engine == "deployment":
        check_deployment(config, federation)
    return prepare(config, base)
