"""`lada federation init`: turn one configuration into the files of a server and of each client."""

import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from lada.config import ClientConfig, RunConfig, make_config
from lada.config_source import read_data
from lada.core.distribution import DISTRIBUTION, lada_version
from lada.core.errors import InputError
from lada.core.owner import for_owner
from lada.engines.certificates import write_authority, write_node_key, write_server_certificate
from lada.engines.client_file import ClientFile
from lada.engines.lock import CONSTRAINTS, WHEELS, constraints
from lada.engines.own_data import deal_out
from lada.engines.server_file import ServerFile, write_connection
from lada.engines.staging import staged
from lada.hosts.base import HOSTS
from lada.points import BY_PARTY, POINTS
from lada.tasks.options import FilesTask

IDENTITY, IDENTITY_PUB = "identity.key", "identity.pub"
"""The server's own key pair, with which clients recognise the server's messages."""
BROUGHT = (ClientConfig.model_fields.keys() & ClientFile.model_fields.keys()) - {"name", "model"}
"""The keys of a client that stand in its own file, and not in the server's."""
PORT = 9092
AUTHORITY_DAYS = 3650


@for_owner()
def init(file: Path, folder: Path, *, hosts: Sequence[str] = (), port: int = PORT, days: int = 365) -> list[str]:
    """Write the files of a federation into an empty or new folder; return its clients' names.

    `hosts` are the names and addresses at which clients reach the server; the first goes into their files. Without any,
    only this machine can reach it. The server's certificate is valid for `days`. Data of a `files` task that is on this
    machine is split: each client gets its own. Raises InputError if the folder is not empty, or if the configuration
    cannot be split. After any error, the folder is as before.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is no folder"
        raise InputError(f"--folder: {str(folder)!r} {what}, and nothing is overwritten; give another folder")
    data, config = _read(file)
    target = folder.resolve()
    with staged(target) as new:
        _fill(data, config, file.resolve().parent, new, target, hosts=hosts, port=port, days=days)
    return [client.name for client in config.clients]


def _fill(
    data: Mapping[str, Any],
    config: RunConfig,
    base: Path,
    folder: Path,
    target: Path,
    *,
    hosts: Sequence[str],
    port: int,
    days: int,
) -> None:
    """Write all files into `folder`, which will become `target`. Relative paths of the configuration start at
    `base`."""
    names = [client.name for client in config.clients]
    write = Writer(
        folder,
        target,
        name=config.name,
        clients=names,
        hosts=hosts or ["this machine"],
        port=port,
        days=days,
    )
    authority = _folder(folder / "ca", private=True)
    write_authority(authority, max(days, AUTHORITY_DAYS))
    server = _folder(folder / "server", private=True)
    write_server_certificate(authority, server, hosts, days)
    write_node_key(server / IDENTITY, server / IDENTITY_PUB)
    tasks = deal_out(config, base, folder)
    shutil.copy(authority / "ca.crt", server)
    shown = ServerFile(host="0.0.0.0" if hosts else "127.0.0.1", port=port)
    _yaml(server / "server.yaml", shown.model_dump(mode="json"), "Where the server listens, and its files.")
    _yaml(
        server / "run.yaml",
        _servers_part(data, config, tasks["server"]),
        "The run; clients bring models and data of their own.",
    )
    write_connection(server / "flower", shown, target / "server")
    keys = _folder(server / "keys")
    write(server, "lada-server.service", "lada-server.service.j2")
    write(server, "compose.yaml", "server-compose.yaml.j2")
    address = f"{_bracketed(hosts[0] if hosts else '127.0.0.1')}:{port}"
    for client in config.clients:
        mine = _folder(folder / "clients" / client.name, private=True)
        write_node_key(mine / "client.key", keys / f"{client.name}.pub")
        shutil.copy(authority / "ca.crt", mine)
        shutil.copy(server / IDENTITY_PUB, mine)
        part = {
            "name": client.name,
            "superlink": address,
            "model": client.model.model_dump(mode="json", exclude_defaults=True) if client.model else {"model": "?"},
            "private": {},
            "distil": {},
            **client.model_dump(mode="json", include=set(BROUGHT), exclude_defaults=True),
            **_own_methods(config, client),
            "task": tasks[client.name],
            "limits": {
                POINTS[HOSTS.kind].limit: [config.choice(HOSTS).name],
                "rounds": None,
                "seconds": None,
                "max_message_bytes": 2**30,
            },
        }
        _yaml(
            mine / "client.yaml",
            part,
            f"The client {client.name}: what it brings, and what a server may ask for.",
        )
        write(mine, "lada-client.service", "lada-client.service.j2", name=client.name)
        write(mine, "compose.yaml", "client-compose.yaml.j2", name=client.name)
    write(folder, "Dockerfile", "Dockerfile.j2")
    write(folder, ".dockerignore", "dockerignore.j2")
    write(folder, "README.md", "README.md.j2")
    (folder / CONSTRAINTS).write_text(constraints(), encoding="utf-8")
    _folder(folder / WHEELS)


@for_owner()
def renew(folder: Path, *, hosts: Sequence[str] = (), days: int = 365) -> bool:
    """Write a new certificate and key for the server of a federation. Raises InputError without its authority.

    In a federation of an earlier version, the server may lack an identity. Then write one, and its public half for each
    client. Return whether that was so.
    """
    server = folder / "server"
    write_server_certificate(folder / "ca", server, hosts, days)
    if (server / IDENTITY).exists():
        return False
    write_node_key(server / IDENTITY, server / IDENTITY_PUB)
    for client in sorted((folder / "clients").glob("*/")):
        shutil.copy(server / IDENTITY_PUB, client)
    return True


class Writer:
    """Fills in templates."""

    def __init__(self, folder: Path, target: Path, **values: Any) -> None:
        """Files in `folder` refer to their later place below `target`."""
        self._folder, self._target = folder, target
        loader = jinja2.PackageLoader("lada.engines")
        self._templates = jinja2.Environment(
            loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
        )
        lada = Path(sysconfig.get_path("scripts")) / "lada"
        self._values = {
            **values,
            "distribution": DISTRIBUTION,
            "version": lada_version(),
            "lada": lada if lada.exists() else f"{sys.executable} -m lada",
        }

    def __call__(self, folder: Path, file: str, template: str, **values: Any) -> None:
        """Write one file into a folder."""
        place = self._target / folder.relative_to(self._folder)
        text = self._templates.get_template(template).render({**self._values, "folder": place, **values})
        (folder / file).write_text(text, encoding="utf-8")


def _read(file: Path) -> tuple[dict[str, Any], RunConfig]:
    """Return a configuration as written and as parsed."""
    data = read_data(file)
    config = make_config(data)
    if isinstance(config.task, FilesTask) and config.task.test is None:
        raise InputError(
            "task.test: missing; a deployment cannot take test questions from all clients' data, so name a "
            "test file that all parties have"
        )
    return data, config


def _own_methods(config: RunConfig, client: ClientConfig) -> dict[str, Any]:
    """Return a client's choices of methods that no server tells it, such as its policies, by key."""
    found = {
        point.key: [each.model_dump(mode="json") for each in config.choices(point.registry, client.name)]
        for point in BY_PARTY
        if point.key in ClientFile.model_fields
    }
    return {key: choices for key, choices in found.items() if choices}


def _servers_part(data: Mapping[str, Any], config: RunConfig, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without the clients' own parts. What the server tells each client stays in it."""
    kept = {"name", "domains", "timeout"} | {point.key for point in BY_PARTY if point.agreed}
    clients = [client.model_dump(mode="json", include=kept, exclude_defaults=True) for client in config.clients]
    return {**data, "engine": "deployment", "task": dict(task), "clients": clients}


def _folder(path: Path, *, private: bool = False) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o755)
    return path


def _yaml(file: Path, data: Mapping[str, Any], comment: str) -> None:
    text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)
    file.write_text(f"# {comment}\n{text}", encoding="utf-8")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
