"""A process of the operator's user calls Flower's interfaces without the secret, or another user reads the secret."""

import secrets
import tempfile
from itertools import product
from pathlib import Path

import harness
from links import as_nobody, ask, links

PATHS = ("/v1/control/list-nodes", "/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task")
HEADER = "lada-operator"


def attack() -> harness.Count:
    """Show no secret, others, parts of the right one, and the right one at the wrong place."""
    with tempfile.TemporaryDirectory() as folder, links(Path(folder)) as (family, link, node, _):
        file = Path(family.environment.get("LADA_OPERATOR", "/nowhere"))
        right = file.read_text() if file.exists() else "unknown"
        wrong = (
            [],
            *(
                [(HEADER, value)]
                for value in ("", " ", right[:-1], right + "0", right.upper(), right[::-1], f'"{right}"')
            ),
            *([(HEADER, secrets.token_hex(32))] for _ in range(20)),
            *(
                [(name, right)]
                for name in ("authorization", "cookie", "x-lada-operator", "lada_operator", "flwr-task-token")
            ),
            [(HEADER, right), (HEADER, right)],
            [(HEADER, "0"), (HEADER, right)],
            [("authorization", f"Bearer {right}")],
        )
        places = [*product([link], [*PATHS, f"{PATHS[0]}?{HEADER}={right}"]), (node, PATHS[-1])]
        answers = [ask(port, path, headers) for port, path in places for headers in wrong]
        stolen = as_nobody(lambda: [is_open(file), is_open(file.parent / "secret.next")])
    got = sum(answer not in (0, 403) for answer in answers)
    return harness.Count(
        len(answers) + len(stolen),
        got + sum(stolen),
        "Each request gets 403, and no other user can read the file with the secret.",
    )


def is_open(file: Path) -> bool:
    """Return whether another user can read a file; this user always can."""
    try:
        return bool(file.read_text()) and file.stat().st_mode & 0o077 != 0
    except OSError:
        return False


if __name__ == "__main__":
    harness.main(attack)
