"""No private text in any byte that leaves a client, in any engine; and the audit, which searches a run for it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from flwr.common.serde import message_to_proto
from leaky_nodes import CANARY
from test_run import NO_REPLAY, builtin, own_files
from typer.testing import CliRunner

import lada
from lada.audit.audit import audit
from lada.audit.canaries import folded, make_canary
from lada.audit.layers import layers
from lada.cli.main import app
from lada.codecs import paths
from lada.core.errors import InputError
from lada.core.terms import Knowledge, Likelihood
from lada.core.terms import Path as ReasoningPath
from lada.federation import party_cache
from lada.federation.grid import LocalGrid
from lada.federation.ledger import read
from lada.federation.local import run_local

ENGINES = {"one process": ({"workers": 0}, LocalGrid), "worker processes": ({"workers": 2}, LocalGrid)}
"""How to choose an engine, and the grid whose messages the server reads."""


def small(**changes) -> dict:
    config = builtin(**changes)
    config["task"] |= {"public": 12, "private": 12, "test_per_domain": 2, "replay": 4}
    config["server"]["model"]["model"] = "zoo:slm-gpt2"
    for party in (config["server"], *config["clients"]):
        party["model"]["max_new_tokens"] = 12
        party["distil"] = {"steps": 1, "batch_size": 4}
    for client in config["clients"]:
        client["private"] = {"steps": 1, "batch_size": 4}
    config["allocator"] = {"name": "random", "options": {"budget": 4}}
    return config


def planted(folder: Path, **changes) -> Path:
    """Write a run whose private samples hold the canary, and so do the names of the folders of data and models."""
    place = folder / CANARY
    place.mkdir()
    config = small(**{"quorum": 0.5, **changes})  # a client fails, and the run goes on without it
    config["task"] = own_files(place)["task"]
    for client in config["clients"]:
        client["domains"] = []
        source = Path(lada.__file__).parent / "zoo" / "models" / client["model"]["model"].removeprefix("zoo:")
        shutil.copytree(source, place / "models" / source.name)
        client["model"]["model"] = str(place / "models" / source.name)
    (place / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return place / "run.yaml"


def found_in(data: bytes, text: str) -> list[str]:
    canary = make_canary("canary", text)
    read = [(layer, folded(layer.decode("utf-8", "replace"))) for _, layer in layers(data)]
    return [form for layer, flat in read for form in canary.forms_in(layer, flat)]


@pytest.mark.usefixtures("_warm_workers")
@pytest.mark.parametrize("engine", ENGINES)
def test_no_byte_that_leaves_a_client_holds_the_canary_in_any_form(engine, tmp_path, monkeypatch):
    options, grid = ENGINES[engine]
    wire: list[bytes] = []
    pull = grid.pull_messages

    def recording(self, message_ids):
        messages = list(pull(self, message_ids))
        wire.extend(message_to_proto(message).SerializeToString() for message in messages)
        return messages

    monkeypatch.setattr(grid, "pull_messages", recording)
    monkeypatch.setattr("lada.federation.run.run_local", lambda _, *a, **k: run_local("leaky_nodes:open_node", *a, **k))
    file = planted(tmp_path, keep_messages=True, membership_audit=True, **options)
    results = lada.run(file, runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "small"
    assert [(gone.party, gone.phase) for gone in results.missing] == [("clinic", "learn")]
    assert CANARY in (folder / "clients" / "clinic" / "errors.log").read_text(encoding="utf-8")
    assert len(wire) >= 8
    assert any("as it is" in found_in(data, "warehouse") for data in wire)  # what is there is found
    assert any(b"warehouse" in layer for data in wire for name, layer in layers(data) if "unpacked" in name)
    for data in wire:
        assert found_in(data, CANARY) == []
    for name in ("events.jsonl", "ledger.parquet"):
        assert found_in((folder / name).read_bytes(), CANARY) == []
    assert {party.model for party in results.parties} == {"zoo:slm-gpt2", "slm-llama", "slm-olmo2"}
    told = audit(folder, canaries=[CANARY])
    assert {client.name: client.verdict for client in told.clients} == {"clinic": "clean", "warehouse": "clean"}
    assert [client.searched.beside for client in told.clients if client.searched] == [2, 0]  # of the failed reply
    assert {m.party for m in results.memberships} == {"clinic", "warehouse"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """The folder of a run whose clients kept what they sent."""
    runs = tmp_path_factory.mktemp("kept")
    lada.run(small(keep_messages=True), runs=runs)
    return runs / "small"


def altered(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "small")
    place = json.loads((kept / "place.json").read_text())
    (tmp_path / "small" / "place.json").write_text(json.dumps(place))
    return tmp_path / "small"


def test_the_audit_counts_what_the_ledger_has_and_covers_every_byte(kept):
    rows = [row for row in read(kept) if row.sender == "clinic"]
    (clinic, _) = audit(kept, canaries=["no such text"]).clients
    assert sum(one.bytes for one in clinic.sent) == sum(row.bytes for row in rows)
    assert sum(one.messages for one in clinic.sent) == len(rows)
    assert {one.kind: one.samples for one in clinic.sent} == {"paths": 12, "metrics": None, "times": None}
    assert [(one.kind, one.messages, one.samples) for one in clinic.received] == [("paths", 1, 12)]
    assert clinic.searched is not None
    assert clinic.searched.bytes == sum({row.digest: row.bytes for row in rows}.values())
    assert (clinic.verdict, clinic.searched.uncovered, clinic.searched.beside) == ("clean", 0, 0)
    assert clinic.searched.passages is not None
    assert clinic.searched.passages > 100


def leak(folder: Path, text: str, client: str = "clinic") -> None:
    """Put a path with a text among what a client keeps, as if it had sent it."""
    from lada.federation import last_reply

    path = ReasoningPath("p1", client, text, None, None, Likelihood(-1.0, -1.0, 2, len(text.encode())))
    last_reply.keep(folder / "clients" / client, {"paths": paths.encode(Knowledge(client, 1, (path,)))})


def test_what_did_leave_is_found_and_told_without_repeating_it(kept, tmp_path):
    from lada.federation.parties import read_task
    from lada.federation.run_folder import read as read_run

    folder = altered(kept, tmp_path)
    config, place = read_run(folder)
    sample = read_task(config, place.base).private["clinic"][3]
    leak(folder, f"so the Canary  Text is out. {sample.question}")
    result = CliRunner().invoke(app, ["audit", str(folder), "--canary", "canary text", "--json"])
    assert result.exit_code == 1
    assert "canary text" not in result.output.casefold()
    told = json.loads(result.output)
    clinic, warehouse = told["clients"]
    assert (clinic["verdict"], warehouse["verdict"], told["passed"]) == ("found", "clean", False)
    found = {(one["what"], one["form"], one["layer"]) for one in clinic["searched"]["found"]}
    assert ("canary 1", "but for case and spaces", "as sent, unpacked") in found
    assert (f"private sample {sample.id!r}", "8 words in a row, plain", "a path") in found
    assert {one["kind"] for one in clinic["searched"]["found"]} == {None}  # the ledger has no row of it
    told = CliRunner().invoke(app, ["audit", str(folder), "--canary", "canary text"])
    assert (told.exit_code, "clinic: found" in told.output, "outside the ledger" in told.output) == (1, True, True)


def test_errors_and_a_file_of_private_texts_are_searched_for_too(kept, tmp_path):
    folder = altered(kept, tmp_path)
    trace = "ValueError: the patient in room nine was given forty drops of the brown syrup"
    (folder / "clients" / "clinic" / "errors.log").write_text(trace, encoding="utf-8")
    (tmp_path / "names.txt").write_text("\nAda Lovelace\nSofja Kowalewskaja\n", encoding="utf-8")
    leak(folder, f"{trace} by Ada Lovelace")
    (clinic, warehouse) = audit(folder, private=tmp_path / "names.txt").clients
    assert clinic.searched is not None
    assert {one.what for one in clinic.searched.found} == {"private sample 'errors.log'", "names.txt line 2"}
    assert warehouse.verdict == "clean"


def test_with_a_copy_that_is_missing_or_altered_not_all_was_searched(kept, tmp_path):
    folder = altered(kept, tmp_path)
    one, other, *_ = sorted((folder / "clients" / "clinic" / "sent").iterdir())
    one.unlink()
    other.write_bytes(other.read_bytes() + b"x")
    clinic = audit(folder).clients[0]
    assert clinic.searched is not None
    assert (clinic.verdict, clinic.searched.uncovered) == ("not searched", 2)
    result = CliRunner().invoke(app, ["audit", str(folder)])
    assert (result.exit_code, "2 rows of the ledger have no kept copy" in result.output) == (4, True)


def test_a_part_that_cannot_be_read_was_not_searched(kept, tmp_path):
    from lada.codecs import soft_targets
    from lada.federation import last_reply

    folder = altered(kept, tmp_path)
    scores = soft_targets.encode({}, vocabulary_size=8, party="clinic", round=1)  # no vocabulary was ever told
    last_reply.keep(folder / "clients" / "clinic", {"soft_targets": scores})
    clinic = audit(folder).clients[0]
    assert clinic.searched is not None
    assert (clinic.verdict, clinic.searched.unread) == ("not searched", 1)
    assert CliRunner().invoke(app, ["audit", str(folder)]).exit_code == 4


def test_a_whole_answer_or_a_name_that_left_is_found_without_a_canary(tmp_path):
    config = small(keep_messages=True, rounds=0)
    files_of = own_files(tmp_path)
    rows = (tmp_path / files_of["task"]["train"]).read_text(encoding="utf-8").splitlines()
    row = json.loads(rows[0]) | {"rationale": "as Mr Aldous Brackwater said"}
    (tmp_path / files_of["task"]["train"]).write_text("\n".join([json.dumps(row), *rows[1:]]) + "\n", encoding="utf-8")
    config["task"] = files_of["task"]
    for client in config["clients"]:
        client["domains"] = []
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lada.run(tmp_path / "run.yaml", runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "small"
    assert CliRunner().invoke(app, ["audit", str(folder)]).exit_code == 0
    for client in ("clinic", "warehouse"):
        shutil.copytree(folder, tmp_path / client)
        leak(tmp_path / client, "so says BRACKWATER", client)
    verdicts = [{one.name: one.verdict for one in audit(tmp_path / c).clients}[c] for c in ("clinic", "warehouse")]
    assert sorted(verdicts) == ["clean", "found"]  # of the one who has the sample


def test_without_copies_the_audit_says_what_it_cannot_say(kept, tmp_path):
    folder = altered(kept, tmp_path)
    for client in ("clinic", "warehouse"):
        shutil.rmtree(folder / "clients" / client / "sent")
    result = CliRunner().invoke(app, ["audit", str(folder)])
    assert result.exit_code == 4, result.output
    assert "clinic: not searched" in result.output
    assert "set keep_messages: true" in result.output
    assert CliRunner().invoke(app, ["audit", str(folder), "--canary", "some text"]).exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "'nowhere' is not the folder of a run"),
        (["RUN", "--canary", "short"], "canary 1: 5 characters without spaces; expected 6"),
        (["RUN", "--private", "nowhere.txt"], "--private 'nowhere.txt'"),
    ],
)
def test_what_cannot_be_audited_is_refused(kept, arguments, expected):
    result = CliRunner().invoke(app, ["audit", *(str(kept) if word == "RUN" else word for word in arguments)])
    assert (result.exit_code, expected in " ".join(result.output.split())) == (2, True), result.output


def test_a_finished_run_is_attacked_as_it_was_at_its_end(kept):
    """The same figures as with `membership_audit` in the run."""
    party_cache.forget()
    results = lada.run(kept, resume=True, overrides=("membership_audit=true",))
    assert results.memberships == ()  # the last message had been answered before
    told = [one for client in audit(kept, memberships=True).clients for one in client.memberships]
    assert [(one.party, one.attack, one.members) for one in told] == [
        (party, attack, 12) for party in ("clinic", "warehouse") for attack in ("loss", "gain")
    ]
    assert all(0 <= one.low <= one.auc <= one.high <= 1 for one in told)


def test_a_model_that_learnt_its_samples_by_heart_is_found_out(tmp_path):
    config = small(rounds=1, membership_audit=True)
    config["clients"] = config["clients"][:1]
    config["clients"][0]["private"] = {"steps": 60, "batch_size": 12}
    config["host"] = {"name": "fedmkt", "options": {"directions": "llm_to_slm", "client_replay": NO_REPLAY}}
    results = lada.run(config, runs=tmp_path)
    gain = next(one for one in results.memberships if one.attack == "gain")
    assert gain.auc > 0.7
    assert "Membership inference" in (tmp_path / "small" / "report.html").read_text(encoding="utf-8")


def test_a_run_under_differential_privacy_tells_what_it_spent(tmp_path):
    pytest.importorskip("dp_accounting")
    from lada.models.private import Release, epsilon

    config = small(rounds=2, membership_audit=False)
    config["host"] = {"name": "fedmkt", "options": {"client_replay": NO_REPLAY}}
    dp = {"noise_multiplier": 1.5, "delta": 1e-3, "clip": 0.5, "seeded": True}
    model = {"model": "zoo:slm-llama", "tune": "lora", "lora": {"rank": 2}, "max_new_tokens": 12}
    config["clients"] = [config["clients"][0] | {"model": model, "private": {"steps": 3, "batch_size": 4, "dp": dp}}]
    results = lada.run(config, runs=tmp_path)
    spent = [(study.round, study.epsilon) for study in results.studies if study.phase == "private"]
    one = Release(4 / 12, 1.5, 3)
    assert spent == [(1, pytest.approx(epsilon([one], 1e-3))), (2, pytest.approx(epsilon([one, one], 1e-3)))]
    assert {study.tokens for study in results.studies if study.phase == "private"} == {0}
    assert all(study.epsilon is None for study in results.studies if study.phase == "distil")
    with pytest.raises(InputError, match=r"client_replay\.private"):
        lada.run(config | {"host": "fedmkt"}, runs=tmp_path)
