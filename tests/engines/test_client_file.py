"""What a client brings and what the server asks for become one configuration, or are refused by name."""

import time

import pytest
import yaml
from federations import change, small, write

from lada.config import make_config
from lada.core.choice import MethodChoice
from lada.core.errors import FederationError, InputError
from lada.core.terms import Sample
from lada.engines.client_file import merge_terms, read_client, split_address
from lada.engines.setup import init
from lada.federation.parties import Place, read_task
from lada.federation.terms import TERMS, Terms, digest, run_id, terms_of
from lada.rounds.options import SelfContext


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("federation")
    init(write(folder), folder / "fed", port=19000)
    return folder / "fed"


@pytest.fixture
def file(written, tmp_path):
    """A client's folder that a test may change."""
    import shutil

    return shutil.copytree(written / "clients" / "clinic", tmp_path / "clinic") / "client.yaml"


def terms(tmp_path, **changes):
    config = make_config(small(**changes))
    place = Place(tmp_path / "small", tmp_path, time.time())
    return Terms.model_validate_json(terms_of(config, read_task(config, tmp_path), place)[TERMS])


def test_a_client_sees_the_run_as_the_server_configured_it_with_its_own_model(file, tmp_path):
    merged = merge_terms(read_client(file), terms(tmp_path))
    whole = make_config(small())
    for key in ("seed", "rounds", "host", "allocator", "objective"):
        assert getattr(merged, key) == getattr(whole, key)
    clinic, warehouse = sorted(merged.clients, key=lambda client: client.name)
    assert clinic == next(client for client in whole.clients if client.name == "clinic")
    assert warehouse.model is None
    assert merged.server.model.model == "elsewhere"  # pyright: ignore[reportAttributeAccessIssue]
    assert read_task(merged, tmp_path).private["clinic"] == read_task(whole, tmp_path).private["clinic"]


def test_what_a_client_holds_back_is_its_own_to_say(file, tmp_path):
    change(file, redact={"pii": ["iban"]}, blur={"noise": 0.1}, self_context={"weight": 0.5})
    client = read_client(file)
    clinic = next(one for one in merge_terms(client, terms(tmp_path)).clients if one.name == "clinic")
    assert (clinic.redact, clinic.blur) == (client.redact, client.blur)
    assert clinic.self_context == client.self_context == SelfContext(weight=0.5)
    assert client.redact is not None
    assert client.redact.pii == ("iban",)
    soft = terms(tmp_path, plugin="none", allocator="random", objective="soft_targets", host="fedmkt")
    with pytest.raises(InputError, match=r"clients\.clinic\.blur"):
        merge_terms(client, soft)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"hosts": ["standalone"]}, "asks for host 'fedmkt', and limits.hosts allows standalone"),
        ({"methods": ["contrastive"]}, "asks for allocator 'lada_paper', and limits.methods allows contrastive"),
        ({"methods": ["lada_paper"]}, "asks for objective 'contrastive'"),
        ({"methods": []}, "limits.methods allows none"),
        ({"rounds": 0}, "asks for 1 round, and limits.rounds is 0"),
    ],
)
def test_what_the_limits_do_not_allow_is_refused_by_their_name(file, tmp_path, limits, said):
    change(file, limits=limits)
    with pytest.raises(FederationError, match=said):
        merge_terms(read_client(file), terms(tmp_path))


def test_impossible_options_of_a_sum_are_refused_in_a_line_of_the_terms(file, tmp_path):
    change(file, limits={"methods": ["sft"]})
    asked = terms(tmp_path)
    for options in ({"objectives": 5}, {"objectives": [{"name": "stf"}]}, {"more": 1}):
        hidden = asked.model_copy(update={"objective": MethodChoice(name="weighted", options=options)})
        with pytest.raises(FederationError, match="terms: they name a method with impossible options"):
            merge_terms(read_client(file), hidden)


def test_a_run_for_others_is_refused(file, tmp_path):
    change(file, name="elsewhere")
    with pytest.raises(FederationError, match="the run is not for 'elsewhere'"):
        merge_terms(read_client(file), terms(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../up"}, "name: "),
        ({"superlink": "https://example.org"}, "expected host:port"),
        ({"superlink": "example.org:70000"}, "expected host:port"),
        ({"certificate": "none.crt"}, "certificate: there is no file"),
        ({"limits": {"second": 3}}, "did you mean 'seconds'"),
        ({"task": {"kind": "files", "public": "p.jsonl", "test": "t.jsonl"}}, "task.train: missing"),
        ({"task": {"kind": "files", "public": "p.jsonl", "train": "t.jsonl"}}, "task.test: missing"),
    ],
)
def test_a_faulty_file_is_refused_by_key(file, changes, said):
    change(file, **changes)
    with pytest.raises(InputError, match=said):
        read_client(file)


def test_a_key_that_others_may_read_is_refused_with_the_fix(file):
    (file.parent / "client.key").chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_client(file)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "{}"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    (tmp_path / "client.yaml").write_text(text)
    with pytest.raises(InputError):
        read_client(tmp_path / "client.yaml")
    with pytest.raises(InputError, match="there is no file"):
        read_client(tmp_path / "other.yaml")


def test_addresses():
    assert split_address("[::1]:9092") == ("::1", 9092)
    assert split_address("fed.example.org:1") == ("fed.example.org", 1)


def test_digests_tell_ids_questions_answers_and_order_apart():
    one, two = Sample("a", "q", "1"), Sample("b", "q", None)
    different = [(), (one,), (one, two), (two, one), (Sample("a", "q1", ""),), (Sample("a", "q", "2"),)]
    assert len({digest(samples) for samples in different}) == len(different)
    assert digest((Sample("a", "q", "1", rationale="because", domain="d"),)) == digest((one,))


def test_a_run_id_is_a_folders_name_and_its_start(tmp_path):
    assert run_id(Place(tmp_path / "demo-2", tmp_path, 1700000000.1234)) == "demo-2-1700000000123"


def test_terms_hold_no_path_and_no_text_of_a_sample(tmp_path):
    config = make_config(small())
    task = read_task(config, tmp_path)
    text = terms_of(config, task, Place(tmp_path / "small", tmp_path, 0.0))[TERMS].decode()
    assert str(tmp_path) not in text
    assert "zoo:" not in text
    assert not any(sample.question in text for sample in (*task.public, *task.test))


def test_the_servers_part_knows_nothing_of_the_clients(written):
    run = yaml.safe_load((written / "server" / "run.yaml").read_text())
    assert run["clients"] == [
        {"domains": ["warehouse"], "name": "warehouse"},
        {"domains": ["clinic"], "name": "clinic"},
    ]
    text = (written / "server" / "run.yaml").read_text()
    assert not {"zoo:slm-llama-small", "zoo:slm-gpt2"} & set(text.split())
    assert make_config(run).engine == "deployment"


def test_an_augmenter_is_part_of_the_terms_and_a_client_may_refuse_it(file, tmp_path):
    asked = terms(tmp_path, augmenter={"name": "pgkd", "options": {"new": 3}})
    named = merge_terms(read_client(file), asked).make_augmenter()
    assert named is not None
    assert (named[0], named[1].options.new) == ("pgkd", 3)
    change(file, limits={"methods": ["lada_paper", "contrastive"]})
    with pytest.raises(FederationError, match=r"the server asks for augmenter 'pgkd', and limits\.methods allows"):
        merge_terms(read_client(file), asked)
    assert "augmenter" not in terms(tmp_path).model_dump_json()  # as earlier versions wrote them
