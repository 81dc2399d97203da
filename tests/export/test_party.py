"""What can be taken out of a run, and what the words are where it cannot; the commands."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import tiny_runs
import yaml
from typer.testing import CliRunner

from lada.cli.main import app
from lada.core.errors import InputError, LadaError
from lada.core.shown import shown
from lada.export import export as exporting
from lada.export.check import Check, questions_of
from lada.export.party import open_party
from lada.federation import checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model("gpt2", len(tokenizer), layers=1)
    return tiny_runs.run_folder(tmp_path_factory.mktemp("party"), model, tokenizer)


def lada(*words: str | Path, input: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], input=input)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("party", "message"),
    [
        ("sml", "party: 'sml' is not in this run; expected one of llm, slm; did you mean 'slm'?"),
        ("llm", "party: 'llm' has no checkpoint in .*; a party is kept when its first round is over"),
    ],
)
def test_a_party_that_is_not_there_is_told(run: Path, party: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_party(run, party)


def test_a_server_behind_an_api_has_no_weights(run: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    api = {"base_url": "http://localhost/v1", "model": "big", "key_variable": None}
    config |= {"server": {"model": {"api": api}}, "host": {"name": "fedmkt"}, "allocator": None, "objective": None}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(config | {"plugin": "lada", "allocator": {"name": "verified"}})
    )
    with pytest.raises(
        InputError, match="'llm' is 'big' behind an API, whose weights are not here; expected one of slm"
    ):
        open_party(tmp_path, "llm")


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no config\.yaml; give the folder of a run"):
        open_party(tmp_path, "slm")


def test_an_altered_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "checkpoints" / "slm" / "model" / "config.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(LadaError, match=r"model/config\.json has changed since it was written"):
        open_party(copy, "slm")
    file.unlink()
    with pytest.raises(LadaError, match="is missing or cannot be read"):
        open_party(copy, "slm")


def test_a_checkpoint_in_another_partys_folder_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    kept = copy / "checkpoints" / "slm"
    names = [path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()]
    held = {name: (kept / name).read_bytes() for name in names if name != checkpoints.MANIFEST}
    checkpoints.save(kept, checkpoints.files({**held, "party": b"llm"}))
    with pytest.raises(LadaError, match=r"it belongs to 'llm', not to 'slm'; put each back into its own folder"):
        open_party(copy, "slm")


def test_results_of_another_version_are_told(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "results.json").write_text("{}")
    with pytest.raises(InputError, match="is not what this version of lada writes"):
        open_party(copy, "slm")


def test_the_runs_questions_come_before_built_in_ones(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "results.json").write_text(tiny_runs.results())
    own, built_in = questions_of(open_party(copy, "slm").results), questions_of(None)
    assert own == ("is this shown?", *built_in[:19])
    assert len(set(built_in)) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--to", "guff"),
            "--to: 'guff' is not a target; expected one of hf, peft, gguf, gguf-lora, onnx; did you mean 'gguf'?",
        ),
        (("--to", "onnx", "--dtype", "bfloat16"), "--dtype: 'bfloat16' is not for onnx; expected one of float32"),
        (("--to", "hf", "--dtype", "int4"), "--dtype: 'int4' is not for hf"),
    ],
)
def test_wrong_words_end_with_2(run: Path, words: tuple[str, ...], message: str) -> None:
    code, output = lada("export", run, "--party", "slm", *words)
    assert code == 2
    assert message in output


def test_a_folder_with_something_in_it_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    code, output = lada("export", run, "--party", "slm", "--to", "hf", "--output", tmp_path)
    assert code == 2
    assert "is not empty; name another folder" in output
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("place", ["file", "file/below/it"])
def test_a_file_in_the_way_is_told_before_weights_are_read(run: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    code, output = lada("export", run, "--party", "slm", "--to", "hf", "--output", tmp_path / place)
    assert code == 2
    assert f"error: --output: '{tmp_path}/file' is no folder; name another folder\n" in output
    assert "weights read" not in output


def test_export_says_what_it_checked(run: Path, tmp_path: Path) -> None:
    code, output = lada("export", run, "--party", "slm", "--to", "hf", "--output", tmp_path / "new")
    assert code == 0
    assert "check: 20 of 20 greedy texts of transformers" in output
    assert f"export: {tmp_path / 'new'}" in output


def test_another_answer_ends_with_1_and_keeps_the_files(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(parcel: object, trial: object) -> Check:
        return Check("a runtime", "texts", 20, 19, 0.5)

    monkeypatch.setitem(exporting.TARGETS, "hf", dataclasses.replace(exporting.HF, check=check))
    code, output = lada("export", run, "--party", "slm", "--to", "hf", "--output", tmp_path / "new")
    assert code == 1
    assert "19 of 20 greedy texts" in output
    assert (tmp_path / "new" / "model.safetensors").exists()


def test_chat_answers_each_line(run: Path) -> None:
    learner = open_party(run, "slm").learner()
    expected = [learner.answer([question], seed=0)[0].text for question in ("how many?", "a)")]
    code, output = lada("chat", run, "--party", "slm", input="how many?\n  \na)\n")
    assert code == 0
    told = output.replace("\r", "")
    assert told.count(" s\n") == 2
    for text in expected:
        assert shown(text) in told


def test_chat_with_nobody_is_told(run: Path) -> None:
    code, output = lada("chat", run, "--party", "nobody", input="")
    assert code == 2
    assert "expected one of llm, slm" in output
