"""What the long-lived commands and their children log."""

import io
import json
import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from federations import write
from typer.testing import CliRunner

from lada.cli.main import app
from lada.core import logs
from lada.core.errors import FederationError
from lada.engines import worker
from lada.engines.client_file import read_client
from lada.engines.family import Family, flower, free_port, last_words, wait_for_port
from lada.engines.frames import FAILURE, TASK, receive, send
from lada.engines.setup import init

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("patient 17 has a cough"), "refused or failed: ValueError; see errors.log"),
        (FederationError("it is a replay"), "refused or failed: it is a replay; see errors.log"),
    ],
)
def test_a_workers_log_names_what_failed_and_its_cause_goes_to_errors_log(tmp_path, monkeypatch, caplog, error, told):
    init(write(tmp_path), tmp_path / "fed")
    file = tmp_path / "fed" / "clients" / "clinic" / "client.yaml"

    def handle(*_):
        raise error

    monkeypatch.setattr(worker.RunOfClient, "handle", handle)
    monkeypatch.setattr(logging.getLogger("lada"), "propagate", True)
    asked, answered = io.BytesIO(), io.BytesIO()
    send(asked, TASK, {"run": "demo-1", "phase": "learn", "round": 2}, {"paths": b"whose illness"})
    asked.seek(0)
    both: Any = SimpleNamespace(read=asked.read, write=answered.write, flush=answered.flush)

    with caplog.at_level(logging.INFO, "lada.worker"):
        worker._answer(both, read_client(file), file.parent)
    answered.seek(0)
    tag, said, _ = receive(answered)
    assert (tag, str(error) in said["text"]) == (FAILURE, True)  # for errors.log
    written = [json.loads(logs.JsonLines().format(record)) for record in caplog.records]
    where = {"party": "clinic", "run": "demo-1", "round": 2, "phase": "learn"}
    assert [{key: line[key] for key in ("level", "message", *where)} for line in written] == [
        {"level": "info", "message": "run demo-1, round 2, phase learn", **where},
        {"level": "error", "message": told, **where},
    ]


def test_a_command_that_cannot_start_says_so_as_json(tmp_path, monkeypatch):
    monkeypatch.setenv(logs.VARIABLE, "json")
    for logger in (logging.getLogger(), logging.getLogger("lada")):
        monkeypatch.setattr(logger, "handlers", logger.handlers)  # put back at the end
        monkeypatch.setattr(logger, "propagate", logger.propagate)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    result = CliRunner().invoke(app, ["server", str(tmp_path / "server.yaml")])
    logging.captureWarnings(False)
    assert result.exit_code == 2
    line = json.loads(result.output)
    assert (line["level"], line["logger"]) == ("error", "lada.server")
    assert line["message"].startswith("there is no file")


def test_last_words_of_a_log_in_json_are_its_message(tmp_path):
    (tmp_path / "log").write_text('{"message": "error: no such key"}\n{"message": "bye"}\n')
    assert last_words(tmp_path / "log").endswith("says: 'error: no such key'")


def test_last_words_are_the_cause_and_not_what_follows_from_it_without_colours(tmp_path):
    lines = [
        "\x1b[91mERROR \x1b[0m: An exception occurred: no room",
        "RuntimeError: ended",
        "\x1b[91mERROR\x1b[0m: code 7",
    ]
    (tmp_path / "log").write_text("\n".join(lines))
    assert last_words(tmp_path / "log").endswith("says: 'ERROR : An exception occurred: no room'")
    (tmp_path / "log").write_text("started\n" + lines[-1] + "\nbye")
    assert last_words(tmp_path / "log").endswith("says: 'ERROR: code 7'")


@pytest.mark.slow
def test_flowers_server_logs_json_when_asked(tmp_path):
    port, log = free_port(), tmp_path / "log"
    with Family({logs.VARIABLE: "json"}) as family:
        options = ["--insecure", "--host", "127.0.0.1", "--port", str(port), "--isolation", "process"]
        process = family.start(flower("superlink", *options), log)
        wait_for_port(port, process, log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"flwr", "uvicorn.error"} <= {line["logger"] for line in lines}
