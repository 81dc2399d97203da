"""What each type of causal LM of the installed transformers does here, tried on tiny random models.

Writes results/architectures and its table in docs/architectures.md. What is there of the same versions is not tried
again, so a sweep that was stopped goes on:

python tests/architectures/sweep.py [TYPE ...] [--out results/architectures]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path += [str(HERE), str(HERE.parent / "export")]

import tiny_runs  # noqa: E402
import tiny_types  # noqa: E402

from lada.core.errors import InputError  # noqa: E402
from lada.core.terms import Lesson  # noqa: E402
from lada.export.export import export  # noqa: E402
from lada.models.base import Study  # noqa: E402
from lada.models.learner import HuggingFaceLearner  # noqa: E402
from lada.models.load import load  # noqa: E402
from lada.models.options import ModelOptions  # noqa: E402
from lada.planning.compose import plan_without_data  # noqa: E402
from lada.rounds.steps import sft  # noqa: E402
from lada.zoo.tokenizers import make_tokenizer  # noqa: E402

PAGE, OUT = ROOT / "docs" / "architectures.md", ROOT / "results" / "architectures"
BEGIN, END = "<!-- architectures -->", "<!-- /architectures -->"
"""What the table stands between in PAGE."""
VERSIONS = ("transformers", "peft")
QUESTIONS = ("7 boxes in the warehouse . how many boxes ?", "which day , naïve ?", "?")
PATHS = ("a) pallet : 7 + 4 = 11 . answer 11", "saturday . answer saturday", "5")
TOKENS, ROUNDING = 6, 0.01
"""Tokens of an answer, and nats by which likelihoods of a path may differ."""

Row = dict[str, str]


def try_type(kind: str) -> Row:
    """Return what came of each trial of a type: `yes`, or what it says instead."""
    row: Row = {}
    with tempfile.TemporaryDirectory() as place:
        model = _tried(row, "built", lambda: tiny_types.make_model(tiny_types.make_config(kind)))
        if model is None:
            return row
        tokenizer = make_tokenizer("bpe", (*QUESTIONS, *PATHS) * 3, 300)
        run = tiny_runs.run_folder(Path(place), model, tokenizer, device="cpu")
        folder = str(Path(place) / "base")
        _tried(row, "plan", lambda: _plan(folder))
        together = _tried(row, "loads", lambda: load(folder, _options()))
        if together is not None:
            row["company"] = f"{together._batching.answer}, {together._batching.judge}"
            _tried(row, "same", lambda: _same(together, load(folder, _options(batch_size=1))))
            _tried(row, "full", lambda: _study(folder, Path(place) / "full", _options()))
            _tried(row, "lora", lambda: _study(folder, Path(place) / "lora", _options(tune="lora")))
        for target in ("hf", "gguf"):
            _tried(row, target, lambda target=target: _export(run, target, place))
    return {name: said.replace(place, "…") for name, said in row.items()}


def _tried(row: Row, name: str, work: Callable[[], Any]) -> Any:
    """Record what a trial returns, if it is a text, or that it succeeded; return it, or None if it failed."""
    try:
        found = work()
    except InputError as refusal:
        row[name] = f"refused: {_short(refusal)}"
    except Exception as error:
        row[name] = f"{type(error).__name__}: {_short(error)}"
    else:
        row[name] = found if isinstance(found, str) else "yes"
        return found
    return None


def _short(error: Exception) -> str:
    """Return what went wrong, without the advice, whose lists grow with everything that is added."""
    return str(error).strip().partition("\n")[0].partition("; expected")[0][:240]


def _options(**changes: Any) -> ModelOptions:
    return ModelOptions(**{"model": "tiny", "device": "cpu", "max_new_tokens": TOKENS, **changes})


def _plan(folder: str) -> str:
    """Return whether a run's plan knows the model's memory, and the share of its weights that LoRA adapts."""
    client = {"name": "slm", "model": {"model": folder, "tune": "lora", "device": "cpu"}}
    found = plan_without_data({"name": "tiny", "server": {"model": {"model": "zoo:llm-world-0"}}, "clients": [client]})
    memory = found.parties[1].memory
    return "memory unknown" if memory is None else f"LoRA on {memory.adapted:.0%}"


def _same(together: HuggingFaceLearner, alone: HuggingFaceLearner) -> str:
    """Return whether answers and likelihoods in a batch are those alone, and the answers those of `generate`."""
    ours, single = (learner.answer(QUESTIONS, seed=0) for learner in (together, alone))
    wrong = []
    if [answer.text for answer in ours] != [answer.text for answer in single]:
        wrong.append("answers")
    pairs = list(zip(QUESTIONS, PATHS, strict=True))
    if any(abs(a.total - b.total) > ROUNDING for a, b in zip(together.judge(pairs), alone.judge(pairs), strict=True)):
        wrong.append("likelihoods")
    if abs(together.embed(QUESTIONS) - alone.embed(QUESTIONS)).max() > ROUNDING:
        wrong.append("embeddings")
    if [answer.text for answer in single] != [_generated(alone, question) for question in QUESTIONS]:
        wrong.append("generate")
    return f"other {', '.join(wrong)}" if wrong else "yes"


@torch.inference_mode()
def _generated(learner: HuggingFaceLearner, question: str) -> str:
    encoder = learner.encoder
    ids = torch.tensor([encoder.prompt(question)])
    found = learner.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=encoder.eos,
        pad_token_id=encoder.pad,
    )
    return encoder.text(found[0, ids.shape[1] :].tolist())


def _study(folder: str, place: Path, options: ModelOptions) -> str:
    """Return whether a study changes the model, and a saved model comes back with the same weights and answers."""
    pupil = load(folder, options)
    before = {name: weight.copy() for name, weight in pupil.adapter().items()}
    lessons = [Lesson(str(i), *pair) for i, pair in enumerate(zip(QUESTIONS, PATHS, strict=True))]
    report = pupil.study(lessons, sft(), Study(steps=3, batch_size=3), seed=0)
    if report.skipped or all((before[name] == weight).all() for name, weight in pupil.adapter().items()):
        return "learns nothing"
    pupil.save(place)
    again = load(folder, options, saved=place)
    state = again.model.state_dict()
    if not all(torch.equal(state[name], weight) for name, weight in pupil.model.state_dict().items()):
        return "other weights after reload"
    same = [answer.text for answer in pupil.answer(QUESTIONS, seed=0)] == [
        answer.text for answer in again.answer(QUESTIONS, seed=0)
    ]
    return "yes" if same else "other answers after reload"


def _export(run: Path, target: str, place: str) -> str:
    torch.manual_seed(0)  # Reformer hashes at random
    check = export(run, "slm", target, output=Path(place) / target).check
    if check.passed:
        return "yes"
    if check.same == check.total:
        return f"{check.as_trained} of {check.asked} texts outlive merging and rounding"
    return f"{check.same} of {check.total} {check.what} are the party's"


COLUMNS = {
    "loads": "loads",
    "company": "batches (answer, judge)",
    "same": "batched = alone = generate",
    "full": "full, reload",
    "lora": "LoRA, reload",
    "plan": "plan",
    "hf": "`hf`",
    "gguf": "`gguf`",
}


def table(rows: dict[str, Row]) -> str:
    """Return the rows as a Markdown table; a cell says no more than the kind of a refusal or failure."""
    lines = [f"| type | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for kind, row in sorted(rows.items()):
        if row["built"] != "yes":
            row = {"loads": f"transformers cannot build it ({_kind(row['built'])})"}
        lines.append(f"| {kind} | {' | '.join(_kind(row.get(name, '–')) for name in COLUMNS)} |")
    return "\n".join(lines)


def _kind(said: str) -> str:
    return said.partition(": ")[0]


def with_table(page: str, rows: dict[str, Row]) -> str:
    """Return the text of PAGE with the table of these rows."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{rest.partition(END)[2]}"


def versions() -> dict[str, str]:
    """Return the versions that rows depend on."""
    return {name: version(name) for name in VERSIONS}


def main() -> None:
    """Try the named types, or all that no row is there of, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    file = options.out / "figures.json"
    options.out.mkdir(parents=True, exist_ok=True)
    figures = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rows: dict[str, Row] = figures.get("types", {}) if figures.get("versions") == versions() else {}
    for kind in options.types or [kind for kind in tiny_types.TYPES if kind not in rows]:
        rows[kind] = try_type(kind)
        print(kind, rows[kind], flush=True)
        told = {"versions": versions(), "types": dict(sorted(rows.items()))}
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.out == OUT:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
