"""One configuration becomes files for a server and for each client, and everybody gets what is its own."""

import hashlib
import re
import stat
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from federations import small, write
from test_run import CANARY, own_files
from typer.testing import CliRunner

from lada.cli.main import app
from lada.config import make_config
from lada.core.errors import InputError
from lada.engines.client_file import read_client
from lada.engines.lock import lock
from lada.engines.server_file import read_server
from lada.engines.setup import init, renew
from lada.federation.parties import read_task
from lada.objectives.base import OBJECTIVES
from lada.rounds.options import SelfContext

SERVER = {
    *("ca.crt", "compose.yaml", "flower", "keys", "lada-server.service", "run.yaml", "server.crt", "server.key"),
    *("identity.key", "identity.pub", "server.yaml"),
}
CLIENT = {"ca.crt", "client.key", "client.yaml", "compose.yaml", "identity.pub", "lada-client.service"}


def test_the_files_are_there_private_and_sound(tmp_path):
    names = init(write(tmp_path), tmp_path / "fed", hosts=["fed.example.org", "192.0.2.7"], port=9555)
    fed = tmp_path / "fed"
    assert names == ["warehouse", "clinic"]
    assert {path.name for path in (fed / "server").iterdir()} == SERVER
    assert {path.name for path in (fed / "server" / "keys").iterdir()} == {"warehouse.pub", "clinic.pub"}
    assert (read_server(fed / "server" / "server.yaml").host, read_server(fed / "server" / "server.yaml").port) == (
        "0.0.0.0",
        9555,
    )
    for name in names:
        mine = fed / "clients" / name
        assert {path.name for path in mine.iterdir()} == CLIENT
        client = read_client(mine / "client.yaml")
        assert (client.name, client.superlink, client.limits.model_dump()["hosts"]) == (
            name,
            "fed.example.org:9555",
            ("fedmkt",),
        )
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert f"client {mine}/client.yaml" in (mine / "lada-client.service").read_text()
        assert yaml.safe_load((mine / "compose.yaml").read_text())["services"]["client"]["command"][1] == "client"
    assert yaml.safe_load((fed / "server" / "compose.yaml").read_text())["services"]["server"]["ports"] == ["9555:9555"]
    assert stat.S_IMODE((fed / "ca" / "ca.key").stat().st_mode) == 0o600
    assert "warehouse, clinic" in (fed / "README.md").read_text()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "fed").mkdir()
    (tmp_path / "fed" / "mine").write_text("kept")
    with pytest.raises(InputError, match="is not empty, and nothing is overwritten"):
        init(write(tmp_path), tmp_path / "fed")
    assert [path.name for path in (tmp_path / "fed").iterdir()] == ["mine"]


def test_a_new_certificate_is_of_the_same_authority(tmp_path):
    init(write(tmp_path), tmp_path / "fed")
    before = {path: path.read_bytes() for path in (tmp_path / "fed").rglob("*") if path.is_file()}
    renew(tmp_path / "fed", hosts=["new.example.org"], days=7)
    changed = {path.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == {"server.crt", "server.key"}


def test_own_files_are_dealt_out_and_the_server_gets_nothing_private(tmp_path):
    config = own_files(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    init(tmp_path / "run.yaml", tmp_path / "fed")
    whole = read_task(make_config(config), tmp_path)
    for name, samples in whole.private.items():
        folder = tmp_path / "fed" / "clients" / name
        client = read_client(folder / "client.yaml")
        alone = make_config({**config, "task": client.task.model_dump(mode="json"), "clients": [config["clients"][0]]})
        (mine,) = read_task(alone, folder).private.values()
        assert mine == samples
        assert read_task(alone, folder).public == whole.public
    server = tmp_path / "fed" / "server"
    for path in server.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()
    task = read_task(make_config(yaml.safe_load((server / "run.yaml").read_text())), server)
    assert (task.public, task.test, task.private) == (whole.public, whole.test, {})


def test_a_test_that_is_held_back_cannot_be_shared(tmp_path):
    config = own_files(tmp_path)
    del config["task"]["test"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    result = CliRunner().invoke(
        app, ["federation", "init", str(tmp_path / "run.yaml"), "--folder", str(tmp_path / "fed")]
    )
    assert result.exit_code == 2
    assert "task.test: missing" in result.output
    assert not (tmp_path / "fed").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs the server's folder; give it with --federation"),
        (["--federation", "nowhere"], "there is no file"),
        (["--federation", "fed/server"], "clients.warehouse.model: with engine: deployment each client brings its own"),
    ],
)
def test_a_run_that_cannot_be_submitted_is_refused_before_it_has_a_folder(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path)
    init(file, tmp_path / "fed")
    result = CliRunner().invoke(app, ["run", str(file), "--engine", "deployment", *arguments])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert not (tmp_path / "runs").exists()


def test_without_ray_a_simulation_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("lada.core.extras.find_spec", lambda name: None)
    runs = ["--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, ["run", str(write(tmp_path)), "--engine", "simulation", *runs])
    assert result.exit_code == 2
    assert "pip install 'lada-fed[simulation]'" in result.output
    assert not (tmp_path / "runs").exists()


def test_what_a_client_takes_out_of_its_texts_goes_into_its_own_file_alone(tmp_path):
    redact = {"pii": ["email"], "rules": [{"pattern": "Dr\\. \\w+", "by": "[DOCTOR]"}]}
    clients: Any = small()["clients"]
    clients[1] |= {"redact": redact, "blur": {"round_to": 0.25}, "self_context": {"weight": 0.5}, "rehearse": 0.25}
    init(write(tmp_path, clients=clients), tmp_path / "fed")
    read = {name: read_client(tmp_path / "fed" / "clients" / name / "client.yaml") for name in ("clinic", "warehouse")}
    assert (read["warehouse"].redact, read["warehouse"].blur) == (None, None)
    assert (read["warehouse"].self_context, read["clinic"].self_context) == (None, SelfContext(weight=0.5))
    assert (read["warehouse"].rehearse, read["clinic"].rehearse) == (0.0, 0.25)
    assert read["clinic"].redact is not None
    assert read["clinic"].redact.apply("ask Dr. Who, who@example.org") == "ask [DOCTOR], [EMAIL]"
    assert read["clinic"].blur is not None
    assert read["clinic"].blur.round_to == 0.25
    assert "DOCTOR" not in (tmp_path / "fed" / "server" / "run.yaml").read_text()


def test_no_choice_of_a_client_is_lost(tmp_path):
    """A client's policies stand in its own file; the server tells it its objective."""
    clients: Any = small()["clients"]
    clients[0] |= {"policies": [{"name": "swing", "options": {"seeded": True}}], "withhold": None}
    clients[1] |= {"withhold": {"words": 5}, "objective": "sft"}
    init(write(tmp_path, clients=clients, objective="soft_targets"), tmp_path / "fed")
    one, two = ((tmp_path / "fed" / "clients" / client["name"] / "client.yaml").read_text() for client in clients)
    assert yaml.safe_load(one)["policies"][0]["name"] == "swing"
    assert yaml.safe_load(one)["policies"][0]["options"]["seeded"]
    assert yaml.safe_load(one)["withhold"] is None
    assert yaml.safe_load(two)["withhold"] == {"words": 5}
    assert "policies" not in yaml.safe_load(two)
    server = yaml.safe_load((tmp_path / "fed" / "server" / "run.yaml").read_text())
    assert all("policies" not in client for client in server["clients"])
    told = make_config(server)
    assert [told.choice(OBJECTIVES, client.name).name for client in told.clients] == ["soft_targets", "sft"]


def left_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt(), InputError("not so")])
@pytest.mark.parametrize("step", ["deal_out", "write_node_key", "write_connection", "constraints"])
@pytest.mark.parametrize("before", [[], ["fed"], ["far", "far/down"]])
def test_an_init_that_fails_anywhere_leaves_nothing_behind(tmp_path, monkeypatch, fault, step, before):
    def fail(*_, **__):
        raise fault

    file = write(tmp_path / "mine")
    for name in before:
        (tmp_path / name).mkdir()
    there = left_in(tmp_path)
    monkeypatch.setattr(f"lada.engines.setup.{step}", fail)
    with pytest.raises(type(fault)):
        init(file, tmp_path / ("far/down/fed" if "far" in before else "fed"))
    assert left_in(tmp_path) == there


def test_a_name_that_no_certificate_can_have_leaves_nothing_behind(tmp_path):
    file = write(tmp_path / "mine")
    with pytest.raises(InputError, match="--host: "):
        init(file, tmp_path / "new" / "fed", hosts=["ä" * 300])
    assert left_in(tmp_path) == ["mine", "mine/run.yaml"]


def test_an_empty_folder_and_folders_that_are_not_there_are_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b" / "fed"):
        init(write(tmp_path / "mine"), folder)
        assert (folder / "server" / "run.yaml").is_file()
        assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "run.yaml":
                text = path.read_text(errors="replace")
                assert f"{folder.parent}/.{folder.name}" not in text, path


def test_a_file_in_the_place_of_the_folder_stays(tmp_path):
    (tmp_path / "fed").write_text("mine")
    with pytest.raises(InputError, match="is no folder, and nothing is overwritten"):
        init(write(tmp_path / "mine"), tmp_path / "fed")
    assert (tmp_path / "fed").read_text() == "mine"


def test_the_image_rests_on_a_digest_and_on_hashes(tmp_path):
    init(write(tmp_path / "mine"), tmp_path / "fed")
    lines = (tmp_path / "fed" / "Dockerfile").read_text().splitlines()
    does = [line for line in lines if line and not line.startswith("#")]
    assert re.fullmatch(r"ARG PYTHON_DIGEST=[0-9a-f]{64}", does[0])
    (base,) = [line for line in does if line.startswith("FROM")]
    assert base == "FROM python@sha256:${PYTHON_DIGEST}"
    (install,) = [line for line in does if "pip" in line]
    assert {"--require-hashes", "--no-index", "--find-links"} <= set(install.split())
    assert does[-1] == "USER lada"
    assert (tmp_path / "fed" / ".dockerignore").read_text().splitlines()[1:] == ["*", "!wheels", "!requirements.lock"]
    pinned = dict(line.split("==") for line in (tmp_path / "fed" / "constraints.txt").read_text().splitlines())
    assert {"lada-fed", "torch", "flwr", "pydantic-core", "certifi"} <= pinned.keys()
    assert pinned["pydantic"] == version("pydantic")
    assert not any("+" in number for number in pinned.values())


def test_a_lock_has_the_digest_of_every_wheel_and_of_nothing_else(tmp_path):
    (tmp_path / "wheels").mkdir()
    with pytest.raises(InputError, match="has no wheel of lada-fed"):
        lock(tmp_path)
    for name in ("lada_fed-0.1.0-py3-none-any", "torch-2.8.0+cpu-cp312-cp312-linux_x86_64", "b_c-1-py3-none-any"):
        (tmp_path / "wheels" / f"{name}.whl").write_bytes(name.encode())
    result = CliRunner().invoke(app, ["federation", "lock", str(tmp_path)])
    assert result.exit_code == 0
    assert "3 wheels" in result.output
    sha = [hashlib.sha256(name.encode()).hexdigest() for name in (
        "b_c-1-py3-none-any", "lada_fed-0.1.0-py3-none-any", "torch-2.8.0+cpu-cp312-cp312-linux_x86_64")]  # fmt: skip
    assert (tmp_path / "requirements.lock").read_text().splitlines() == [
        f"b-c==1 --hash=sha256:{sha[0]}",
        f"lada-fed==0.1.0 --hash=sha256:{sha[1]}",
        f"torch==2.8.0+cpu --hash=sha256:{sha[2]}",
    ]
    (tmp_path / "wheels" / "lada_fed-0.1.0.tar.gz").touch()
    with pytest.raises(InputError, match=r"'lada_fed-0\.1\.0\.tar\.gz' is not a wheel"):
        lock(tmp_path)
