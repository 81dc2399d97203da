"""What is said of a model that the hub does not give: nobody there, no access, no such thing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from lada.core.errors import InputError
from lada.core.hub import ask_hub
from lada.models.load import check, load
from lada.models.options import ModelOptions


class Hub(BaseHTTPRequestHandler):
    """Refuses, by the name of the model."""

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models").split("/")[1]
        status, code = {
            "gated": (403, "GatedRepo"),
            "private": (401, "RepoNotFound"),
            "moved": (404, "RevisionNotFound"),
            "late": (200, None) if self.path.startswith("/api/") else (403, "GatedRepo"),
            "stranger": (401, None),
        }[name]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if name == "stranger":
            self.send_header("X-Error-Message", "Invalid credentials in Authorization header")
        body = json.dumps({"id": f"{name}/model", "siblings": []}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was downloaded before, and the hub is asked again; a test then sets what the environment would."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    ask_hub.cache_clear()
    yield
    ask_hub.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_nobody_there(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError) as refused:
        check("org/model", ModelOptions(model="org/model"))
    said = str(refused.value)
    assert "Retrying" not in caplog.text
    assert said.startswith("model: 'org/model' is no folder here, and the hub at http://127.0.0.1:9 cannot be reached")
    assert "run `hf download org/model --local-dir DIR` on a machine with access" in said
    assert "set model: DIR; or set HF_HUB_OFFLINE=1" in said


@pytest.mark.usefixtures("asked_anew")
def test_offline_and_never_downloaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as refused:
        check("org/model", ModelOptions(model="org/model"))
    said = str(refused.value).replace("\n", " ")
    assert said.startswith("model: cannot load 'org/model': ")
    assert "without the hub, run `hf download org/model --local-dir DIR`" in said


@pytest.mark.usefixtures("asked_anew")
def test_what_a_hub_refuses(hub: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub + "/{repo_id}/resolve/{revision}/{filename}")

    def told(name: str) -> str:
        with pytest.raises(InputError) as refused:
            check(name, ModelOptions(model=name, revision="v2"))
        return str(refused.value).replace("\n", " ")

    names = ["gated/model", "private/model", "moved/model", "late/model", "stranger/model"]
    gated, private, moved, late, stranger = map(told, names)
    assert "Retrying" not in caplog.text
    assert gated == (
        f"model: 'gated/model' is gated; ask for access at {hub}/gated/model, then log in with `hf auth login` or set "
        "HF_TOKEN"
    )
    assert private.startswith("model: 'private/model' is neither a folder nor on the hub, or it is private; ")
    assert moved == (
        f"model.revision: 'moved/model' has no 'v2'; expected a commit, branch or tag; see {hub}/moved/model"
    )
    assert late == gated.replace("gated/model", "late/model")  # it says who it is, and refuses its files
    assert stranger.startswith("model: 'stranger/model': the hub does not know your token; ")


@pytest.mark.parametrize("name", ["/no/such/folder", "./models/llm", "a/b/c", "model one"])
def test_what_can_only_be_a_folder_is_not_asked_for(name: str):
    with pytest.raises(InputError, match=f"^model: cannot load '{name}': there is no such folder; expected a folder"):
        check(name, ModelOptions(model=name))


def test_a_folder_has_no_revision(tiny: Any, tmp_path: Path):
    tiny.learner().save(tmp_path)
    options = ModelOptions(model=str(tmp_path), revision="main", device="cpu")
    for refused in (check, load):
        with pytest.raises(InputError, match=r"model.revision: 'main', but '.*' is a folder; expected it for hub ids"):
            refused(str(tmp_path), options)
