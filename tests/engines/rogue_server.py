"""`lada server` with a ServerApp that plays tricks on its clients (rogue_serverapp.py).

python rogue_server.py server.yaml
"""

import sys
from functools import partial
from pathlib import Path

from lada.engines import server

ROGUE = Path(__file__).with_name("rogue_serverapp.py")


def main() -> None:
    """Serve, with another flwr-serverapp."""
    write = server.write_commands

    def write_commands(folder: Path) -> None:
        write(folder)
        (folder / "flwr-serverapp").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROGUE}" "$@"\n')

    server.write_commands = write_commands
    server.run_server(Path(sys.argv[1]), partial(print, flush=True))


if __name__ == "__main__":
    main()
