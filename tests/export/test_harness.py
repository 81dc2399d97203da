"""An exported party in lm-evaluation-harness, by its own command, on a task of local files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from lada.export.export import export
from lada.export.party import open_party

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'lada-fed[lm-eval]'")
pytestmark = pytest.mark.slow
QUESTIONS = [
    "how many boxes are in the warehouse?",
    "a) pallet : 7 + 4 = 11 . answer",
    "It's 12 o'clock",
    "how many houses?",
]


def local_task(place: Path, answers: list[str]) -> Path:
    """Write the task of docs/export.md with these answers."""
    place.mkdir()
    rows = [{"question": question, "answer": answer} for question, answer in zip(QUESTIONS, answers, strict=True)]
    (place / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    task = next(block for block in page.split("```yaml\n")[1:] if block.startswith("task:")).partition("```")[0]
    assert "my_tasks/test.jsonl" in task
    assert "max_gen_toks: 128" in task
    task = task.replace("my_tasks/test.jsonl", str(place / "test.jsonl")).replace("toks: 128", "toks: 5")
    (place / "own_questions.yaml").write_text(task, encoding="utf-8")
    return place


def harness(task: Path, arguments: str, out: Path) -> tuple[list[str], float]:
    """Run the harness; return what the model wrote, question by question, and the share of exact matches."""
    words = ["--model", "hf", "--model_args", arguments, "--tasks", "own_questions", "--include_path", str(task)]
    words += ["--apply_chat_template", "--device", "cpu", "--output_path", str(out), "--log_samples"]
    kept = {"HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-m", "lm_eval", *words], check=True, env={**os.environ, **kept}, timeout=280)
    (samples,) = out.rglob("samples_own_questions_*.jsonl")
    rows = sorted((json.loads(line) for line in samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    (results,) = out.rglob("results_*.json")
    figures = json.loads(results.read_text())["results"]["own_questions"]
    return [row["filtered_resps"][0] for row in rows], figures["exact_match,own"]


@pytest.mark.parametrize("to", ["hf", "peft"])
def test_the_harness_reads_what_the_party_writes(to: str, tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    base: Any = tiny_runs.model("qwen3", len(tokenizer))
    learnt = tiny_runs.adapted(tiny_runs.model("qwen3", len(tokenizer)), "q_proj", "down_proj")
    run = tiny_runs.run_folder(tmp_path, learnt, tokenizer, base=base, prompt="Q: {question}\nA:")
    written = [answer.text for answer in open_party(run, "slm").learner().answer(QUESTIONS, seed=0)]
    task = local_task(tmp_path / "task", [*written[:3], "something else"])
    folder = export(run, "slm", to).folder
    arguments = f"pretrained={folder}" if to == "hf" else f"pretrained={tmp_path / 'base'},peft={folder}"
    if to == "peft":  # the template of the run's prompts lies with the adapter
        arguments += f",tokenizer={folder}"
    texts, matches = harness(task, f"{arguments},dtype=float32", tmp_path / "out")
    assert (texts, matches) == (written, 0.75)
