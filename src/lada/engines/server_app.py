"""The app that Flower starts at the server: the server's half of a run that `lada run` submitted."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from lada.core.signals import ended_by_signal
from lada.engines import submission
from lada.federation.run import conduct

server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the submitted run over Flower's grid."""
    file = str(context.run_config[submission.KEY])
    with submission.told(file), ended_by_signal():
        conduct(*submission.read(file), grid, submission.binding(file))
