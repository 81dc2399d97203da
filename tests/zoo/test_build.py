"""Building a shipped model: the same recipe gives the same model bit for bit, also after an interruption."""

import dataclasses
import json
import shutil
import subprocess
from collections import Counter

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from lada.bench import bounded as bounding
from lada.cli.main import app
from lada.core.errors import InputError
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL, split_of
from lada.zoo import build as building
from lada.zoo.recipe import SKIPPING, SLMS, llm, pretraining_samples
from lada.zoo.shipped import locate

TINY = dataclasses.replace(
    SLMS[1], name="tiny", width=16, layers=1, heads=2, steps=8, general=60, per_domain=0, world=None
)


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True, scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "TESTED", 2)
        patch.setattr(building, "CHECKPOINT_EVERY", 3)
        yield


@pytest.fixture(scope="module")
def whole(quick, tmp_path_factory):
    """The folder of a model that was built without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    building.build(TINY, folder, tmp_path_factory.mktemp("work"), lambda *_: None)
    return folder


def weights(folder):
    return {name: tensor.tolist() for name, tensor in load_file(folder / "tiny" / "model.safetensors").items()}


def test_an_interrupted_build_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    real = building._checkpoint

    def stop_after_the_second(*arguments):
        real(*arguments)
        if arguments[3] == 6:
            raise Interrupted

    monkeypatch.setattr(building, "_checkpoint", stop_after_the_second)
    with pytest.raises(Interrupted):
        building.build(TINY, tmp_path / "parts", tmp_path / "work2", lambda *_: None)
    assert list((tmp_path / "parts").iterdir()) == []
    monkeypatch.setattr(building, "_checkpoint", real)
    again = building.build(TINY, tmp_path / "parts", tmp_path / "work2", lambda *_: None)
    assert weights(tmp_path / "parts") == weights(whole)
    assert again["accuracy"] == json.loads((whole / "tiny" / "card.json").read_text())["accuracy"]
    assert not (tmp_path / "work2" / "tiny").exists()


def test_a_finished_model_is_left_alone_and_a_changed_recipe_is_built(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "zoo")
    card = tmp_path / "zoo" / "tiny" / "card.json"
    marked = json.loads(card.read_text()) | {"seconds": -1}
    card.write_text(json.dumps(marked))
    assert building.build(TINY, tmp_path / "zoo", tmp_path / "work", lambda *_: None)["seconds"] == -1
    longer = dataclasses.replace(TINY, steps=9)
    assert building.build(longer, tmp_path / "zoo", tmp_path / "work", lambda *_: None)["seconds"] >= 0


def test_a_built_model_is_located_and_loads(whole):
    folder = locate("zoo:tiny", (whole,))
    learner = load(folder, ModelOptions(model="zoo:tiny", max_new_tokens=4))
    assert len(learner.answer(["7 boxes in the bank . a) add 1 . how many boxes ?"], seed=0)) == 1
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        locate("zoo:tinny", (whole,))
    assert locate("some/hub-id") == "some/hub-id"


@pytest.mark.parametrize("corpus", ["rulebooks", "lineups"])
def test_nothing_a_model_is_pretrained_on_can_be_asked_in_a_run(corpus):
    recipe = dataclasses.replace(llm(3, corpus), general=200, per_domain=100)
    samples = pretraining_samples(recipe)
    assert len(samples) == 200 + 7 * 100
    assert {split_of(sample.question) for sample in samples} == {"pretrain"}


@pytest.mark.parametrize("corpus", ["rulebooks", "lineups"])
def test_an_llm_with_styles_is_taught_them_in_their_shares_of_what_it_knows(corpus):
    recipe = dataclasses.replace(SKIPPING[corpus], world=3, general=50, per_domain=20, per_known=100, mixed=400)
    samples = pretraining_samples(recipe)
    made = CORPORA[corpus]
    one, other, lacking = made.client_domains
    counts = Counter(sample.domain for sample in samples)
    assert counts == {GENERAL: 50, one: 100, other: 100, f"{one}+{other}": 400} | dict.fromkeys(made.server_domains, 20)
    assert {split_of(sample.question) for sample in samples} == {"pretrain"}
    assert not set(made.domains[lacking].verbs) & {word for sample in samples for word in sample.question.split()}
    book = made.world(3)
    styles = Counter((sample.domain, made.style_of(sample, sample.rationale or "", book)) for sample in samples)
    mixed = {style: count for (domain, style), count in styles.items() if domain == f"{one}+{other}"}
    assert mixed.keys() == {f"skips_{one}", f"skips_{other}"}
    assert 160 < mixed[f"skips_{one}"] < 240
    assert {style for domain, style in styles if domain == one} == {"spelled_out", f"skips_{one}"}
    assert {style for domain, style in styles if domain in made.server_domains} <= {"spelled_out", "other"}


def test_other_shares_are_those_of_the_recipe():
    styles = {"leaps": 0.25, "spelled_out": 0.75}
    recipe = dataclasses.replace(SKIPPING["rulebooks"], general=1, per_domain=1, per_known=1, mixed=400, styles=styles)
    made = CORPORA["rulebooks"]
    told = Counter(
        made.style_of(s, s.rationale or "", made.world(0)) for s in pretraining_samples(recipe) if "+" in s.domain
    )
    assert told.keys() == styles.keys()
    assert 70 < told["leaps"] < 130


@pytest.mark.parametrize(
    ("arguments", "built"),
    [
        ([], ["slm-llama", "slm-gpt2", "slm-olmo2", "slm-llama-small", "slm-llama-large", "llm-world-0"]),
        (
            ["--corpus", "lineups"],
            ["slm-lineups-llama", "slm-lineups-gpt2", "slm-lineups-olmo2", "llm-lineups-world-0"],
        ),
        (["--corpus", "lineups", "--world", "2"], ["llm-lineups-world-2"]),
        (["--world", "4"], ["llm-world-4"]),
        (["llm-world-7", "slm-gpt2", "llm-lineups-world-3"], ["llm-world-7", "slm-gpt2", "llm-lineups-world-3"]),
        (["llm-skips-world-0", "llm-lineups-skips-world-12"], ["llm-skips-world-0", "llm-lineups-skips-world-12"]),
    ],
)
def test_the_command_builds_a_worlds_llm_and_what_is_named(arguments, built, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(building, "build", lambda recipe, *_: seen.append(recipe.name) or {"seconds": 1})
    monkeypatch.setattr(bounding, "run_bounded", lambda _command: None)
    result = CliRunner().invoke(app, ["zoo", "build", *arguments, "--target", str(tmp_path)])
    assert (result.exit_code, seen) == (0, built)


def test_the_command_trains_within_the_limits_of_cells(monkeypatch, tmp_path):
    """By hand and from a suite, a model gets the same weights."""
    calls = []

    def run(command, env, check):
        calls.append((command[1:], env, check))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(bounding.subprocess, "run", run)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    limits = bounding.bounded()
    result = CliRunner().invoke(app, ["zoo", "build", "slm-gpt2", "--world", "3", "--target", str(tmp_path)])
    command = [
        "-m",
        "lada",
        "zoo",
        "build",
        "slm-gpt2",
        "--corpus",
        "rulebooks",
        "--world",
        "3",
        "--target",
        str(tmp_path),
    ]
    assert (result.exit_code, calls) == (7, [(command, limits, False)])
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert bounding.run_bounded(command) is None
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["slm-lama"], "did you mean 'slm-llama'"),
        (["llm-world-"], "unknown model 'llm-world-'"),
        (["llm-lineup-world-1"], "did you mean 'llm-lineups-world-0'"),
        (["--corpus", "lineup"], "did you mean 'lineups'"),
    ],
)
def test_the_command_refuses_an_unknown_model_or_corpus(arguments, hint):
    result = CliRunner().invoke(app, ["zoo", "build", *arguments])
    assert result.exit_code == 2
    assert hint in result.output


def test_the_card_of_an_llm_with_styles_says_what_it_knows_and_how_it_writes(tmp_path):
    tiny = {"width": 16, "layers": 1, "heads": 2, "steps": 2, "general": 60, "per_domain": 20, "per_known": 20}
    recipe = dataclasses.replace(SKIPPING["lineups"], name="tiny-skips", world=0, mixed=20, **tiny)
    card = building.build(recipe, tmp_path, tmp_path / "work", lambda *_: None)
    assert building.Recipe(**json.loads((tmp_path / "tiny-skips" / "card.json").read_text())["recipe"]) == recipe
    assert [*card["accuracy"]][-1] == "theatre+harbour"
    told = (tmp_path / "tiny-skips" / "README.md").read_text()
    assert "Of theatre and harbour it knows everything, of garden nothing." in told
    assert "written in styles: 50% skips_theatre, 50% skips_harbour." in told
    assert "20 of each server domain, 20 each of theatre and harbour, 20 that mix them" in told
