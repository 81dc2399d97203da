"""Another user of the machine claims the operator's socket as its own, in every header that a proxy may set."""

import socket
import tempfile
from itertools import product
from pathlib import Path

import harness
from links import as_nobody, ask, links

HEADERS = (
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Client-IP",
    "Via",
)
PATHS = ("/v1/control/list-nodes", "/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task")


def attack() -> harness.Count:
    """Try each header with each value on each path, and with the operator's secret too, as if that had leaked."""
    with tempfile.TemporaryDirectory() as folder, links(Path(folder)) as (family, link, node, _):
        file = family.environment.get("LADA_OPERATOR")
        secrets = [[], [("lada-operator", Path(file).read_text())]] if file else [[]]
        with socket.create_connection(("127.0.0.1", link)) as operators:
            end = f"127.0.0.1:{operators.getsockname()[1]}"
            values = (end, f"for={end}", f'for="{end}"', f"{end}, {end}")

            def work() -> list[int]:
                others = secrets if file is None or not can_read(file) else secrets[:1]
                shown = list(product(HEADERS, values, others))
                return [
                    ask(port, path, [(header, value), *secret])
                    for port, path in [*product([link], PATHS), (node, PATHS[-1])]
                    for header, value, secret in shown
                ]

            answers = as_nobody(work)
    got = sum(answer not in (0, 403) for answer in answers)
    return harness.Count(len(answers), got, "Each request gets 403, since the kernel says whose socket it is.")


def can_read(file: str) -> bool:
    """Return whether the attacker is the operator after all, as where no other user can be taken on."""
    try:
        return bool(Path(file).read_text())
    except OSError:
        return False


if __name__ == "__main__":
    harness.main(attack)
