"""A name of a run or party is one folder below the one where it is to lie, on every system, and nothing else."""

from pathlib import Path, PureWindowsPath

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_run import tiny
from typer.testing import CliRunner

import lada
from lada.cli.main import app
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.names import DEVICES, LONGEST, check_name, fault, same_folder
from lada.federation import run_folder

MODEL = {"model": {"model": "zoo:slm-gpt2"}}

BAD = [
    *(
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/abs",
        "a\\b",
        "c:",
        "c:x",
        ".hidden",
        "-rf",
        "_x",
        "a.",
        "a ",
        " a",
        "a\n",
        "\na",
    ),
    *("a\x00", "a\x1b[2J", "a\u202eb", "сlinic", "ｃlinic", "cafe\u0301", "café", "a*", "a?", "~", "$HOME", "%2e%2e"),
    *("con", "NUL", "Aux", "com1", "LPT9", "n" * (LONGEST + 1), "n" * 5000),
]
NEARLY = st.text(alphabet=st.sampled_from("./\\:-_ aZ09\x00\n\u202eé~"), max_size=8)


@pytest.mark.parametrize("name", BAD)
def test_what_leads_elsewhere_or_means_two_things_is_refused(name):
    with pytest.raises(InputError, match=r"^--name: '"):
        check_name("--name", name)


@given(NEARLY | st.text(max_size=12) | st.sampled_from(BAD))
@example("n" * LONGEST)
def test_whatever_is_let_through_is_one_plain_folder_everywhere(name):
    if fault(name) is not None:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not name.startswith(("-", "."))
    assert Path("runs", name).parent == Path("runs")
    assert PureWindowsPath("runs", name).parent == PureWindowsPath("runs")
    assert name.lower() not in DEVICES
    assert len(f".{name}-1000.before".encode()) <= 255


@given(st.text(alphabet="abcXYZ019_-", min_size=1, max_size=LONGEST))
def test_ordinary_names_are_let_through(name):
    assert (fault(name) is None) == (name[0] not in "_-" and name.lower() not in DEVICES)


def test_names_that_a_disk_may_not_tell_apart():
    assert same_folder(["clinic", "warehouse", "Clinic", "CLINIC"]) == ("clinic", "Clinic")
    assert same_folder(["clinic", "clinics"]) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Con"}, "name: 'Con' is a device's name on Windows"),
        ({"name": "n" * 101}, "name: 'n"),
        ({"clients": [{"name": "Clinic", **MODEL}, {"name": "clinic", **MODEL}]}, "differ only in case"),
        ({"clients": [{"name": "LLM", **MODEL}]}, "is a client's name too"),
        ({"clients": [{"name": "Server", **MODEL}]}, "as the ledger calls the server"),
        ({"clients": [{"name": "n" * 99, "count": 10, **MODEL}]}, "cannot be the name of a folder"),
    ],
)
def test_a_configuration_with_such_names_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        make_config({"server": MODEL, "clients": [{"name": "clinic", **MODEL}], **change})


def test_a_name_on_the_command_line_is_checked_like_one_in_the_file(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny(rounds=0)), encoding="utf-8")
    for name in ("../up", "", "a/b"):
        where = ["--runs", str(tmp_path / "in" / "runs"), "--name", name]
        result = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml"), *where])
        assert result.exit_code == 2
        assert "--name: " in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_link_in_the_place_of_a_runs_folder_is_not_followed(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny").symlink_to(tmp_path / "elsewhere")
    config = make_config(tiny())
    place = run_folder.new(tmp_path / "runs", config, tmp_path)
    assert place.folder.name == "tiny-2"
    assert not (tmp_path / "elsewhere").exists()
    place.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a symbolic link"):
        lada.run(tmp_path / "runs" / "tiny", resume=True)
    with pytest.raises(InputError, match="is a symbolic link"):
        lada.run(tiny(), runs=tmp_path / "runs", resume=True)
