"""A run in Flower's simulation: its own SuperLink while the run lasts, and one Ray actor per worker."""

from lada.config import RunConfig
from lada.core.cores import cores
from lada.core.extras import look_for
from lada.core.results import Results
from lada.engines.family import Family, flower, free_port, wait_for_port
from lada.engines.flower import write_commands
from lada.engines.submission import LOG, submit
from lada.federation.parties import Place
from lada.rounds.party import Emit

CONNECTION = """\
[superlink]
default = "simulation"
[superlink.simulation]
address = "127.0.0.1:{port}"
insecure = true
"""


def check_simulation() -> None:
    """Raise InputError if Ray is missing."""
    look_for("ray", "engine: 'simulation'", "simulation")


def simulate(config: RunConfig, place: Place, emit: Emit) -> Results:
    """Run in a simulation and return the results. Raises as a local run does."""
    clients = len(config.clients)
    actors = max(1, min(cores() if config.workers is None else config.workers, clients))
    with Family() as family:
        family.environment |= {
            "FLWR_HOME": str(family.folder / "flower"),
            "RAY_TMPDIR": str(family.folder),
        }
        write_commands(family.folder / "bin")
        (family.folder / "flower").mkdir()
        port = free_port()
        (family.folder / "flower" / "config.toml").write_text(CONNECTION.format(port=port), encoding="utf-8")
        server = ["--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
        log = place.folder / LOG
        link = family.start(flower("superlink", *server, "--disable-runtime-dependency-installation"), log)
        wait_for_port(port, link, log)
        size = f"num-supernodes={clients} client-resources-num-cpus=1 init-args-num-cpus={actors}"
        wish = f"{size} init-args-log-to-driver=false"  # the output of clients does not belong in the server's log
        return submit(family, config, place, emit, superlink="simulation", options=["--federation-config", wish])
