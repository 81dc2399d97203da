"""A function of the user's: what it is given, what its scores mean, and what it costs when it misbehaves."""

import os
import time
from pathlib import Path

import pytest

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.verifiers.base import Asked, Failure
from lada.verifiers.function import FunctionVerifier
from lada.verifiers.options import FunctionOptions

SAMPLE = Sample("s1", "6 * 7?", "42", None, "sums", 1, entry="{}")

MISBEHAVING = """
import os, sys, time

def verify(sample, text):
    if text == "hang":
        while True:
            pass
    if text == "sleep in C":
        time.sleep(1000)
    if text == "exit":
        sys.exit(0)
    if text == "die":
        os._exit(0)
    if text == "abort":
        os.abort()
    if text == "eat":
        return len(bytearray(2**32))
    if text == "raise":
        return float("secret " + sample.question)
    if text == "print":
        print("x" * 100_000, flush=True)
        os.write(1, b"y" * 100_000)
        os.write(2, b"z" * 100_000)
    if text == "deep":
        return verify(sample, text)
    if text == "fork":
        if os.fork() == 0:
            time.sleep(1000)
    return {"nan": float("nan"), "high": 1.5, "low": -0.1, "none": None, "text": "much", "yes": True}.get(text, 0.25)
"""


def verifier(folder: Path, source: str, **options: object) -> FunctionVerifier:
    (folder / "verify.py").write_text(source, encoding="utf-8")
    return FunctionVerifier(FunctionOptions.model_validate({"file": "verify.py", **options}), folder)


def scores(verifier: FunctionVerifier, *texts: str) -> list[float | Failure]:
    return list(verifier.scores(Asked(SAMPLE, text, None) for text in texts))


def test_it_is_given_the_sample_and_the_whole_text(tmp_path: Path) -> None:
    source = """
def grade(sample, text):
    assert (sample.id, sample.question, sample.answer, sample.rationale) == ("s1", "6 * 7?", "42", None)
    assert (sample.domain, sample.difficulty, sample.entry) == ("sums", 1, "{}")
    return text.count(sample.answer) / 4
"""
    grade = verifier(tmp_path, source, function="grade", threshold=0.5)
    assert scores(grade, "", "42", "42 42\n\u2028 42") == [0.0, 0.25, 0.75]
    assert grade.threshold == 0.5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hang", "took longer than 3 s"),
        ("sleep in C", "took longer than 3 s"),
        ("exit", "raised SystemExit in line 11 of verify.py"),
        ("die", "crashed"),
        ("abort", "crashed"),
        ("eat", "ran out of memory"),
        ("raise", "raised ValueError in line 19 of verify.py"),
        ("deep", "raised RecursionError in line 25 of verify.py"),
        ("nan", "gave no score from 0 to 1"),
        ("high", "gave no score from 0 to 1"),
        ("low", "gave no score from 0 to 1"),
        ("none", "gave no score from 0 to 1"),
        ("text", "gave no score from 0 to 1"),
    ],
)
def test_it_costs_one_answer_when_it_misbehaves(tmp_path: Path, text: str, reason: str) -> None:
    bad = verifier(tmp_path, MISBEHAVING, seconds=3.0, memory_mb=512)
    before, failure, after = scores(bad, "fine", text, "fine")
    assert (before, after) == (0.25, 0.25)
    assert failure == Failure(reason)


def test_what_it_prints_goes_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert scores(verifier(tmp_path, MISBEHAVING), "print", "yes") == [0.25, 1.0]
    assert capfd.readouterr() == ("", "")


def test_processes_that_it_starts_end_with_it(tmp_path: Path) -> None:
    source = """
import subprocess, sys
def verify(sample, text):
    if text == "hang":
        while True:
            pass
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    open("PID", "w").write(str(child.pid))
    return 1
""".replace("PID", str(tmp_path / "pid"))
    starts = verifier(tmp_path, source, seconds=2.0)
    assert scores(starts, "start", "hang")[0] == 1.0
    child = int((tmp_path / "pid").read_text())
    for _ in range(600):  # it is told to end, and does so when the system gets to it
        if not running(child):
            break
        time.sleep(0.05)
    assert not running(child)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("child", ["pass", "return 0", "raise ValueError", "import sys; sys.exit()"])
def test_a_child_that_it_forks_answers_nothing(tmp_path: Path, child: str) -> None:
    """The child comes back first, and the next verdicts stay where they belong."""
    source = f"""
import os
def verify(sample, text):
    if text.startswith("fork"):
        process = os.fork()
        if process == 0:
            {child}
        else:
            os.waitpid(process, 0)
    return float(text.split()[-1])
"""
    forks = verifier(tmp_path, source)
    assert scores(forks, "fork 0.25", "0.5", "fork 0.75", "1") == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_that_is_forked_by_the_import_answers_nothing(tmp_path: Path) -> None:
    source = "import os\nif os.fork():\n    os.wait()\ndef verify(sample, text): return float(text)"
    assert scores(verifier(tmp_path, source), "0.25", "0.5") == [0.25, 0.5]


def test_a_reply_with_another_number_or_process_is_passed_over(tmp_path: Path) -> None:
    source = """
import gc, json, os
from multiprocessing.connection import Connection

def verify(sample, text):
    calls = next(each for each in gc.get_objects() if isinstance(each, Connection))
    for number, process in ((2, os.getpid()), (0, os.getpid()), (1, os.getppid())):
        calls.send_bytes(json.dumps({"number": number, "process": process, "result": 1.0}).encode())
    return 0.25
"""
    assert scores(verifier(tmp_path, source), "") == [0.25]


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("def verify(:", {}, r"verify\.py' cannot be imported: it raised SyntaxError"),
        ("import nothing_of_this_name", {}, r"it raised ModuleNotFoundError in line 1 of verify\.py"),
        ("import os; os._exit(3)", {}, "cannot be imported: it crashed"),
        ("verify = 3", {}, r"task\.verifier\.function: .* has no function 'verify'"),
        ("def verify(s, t): return 1", {"function": "grade"}, "has no function 'grade'"),
        ("def verify(s, t): return 1", {"file": "nowhere.py"}, r"task\.verifier\.file: .*nowhere\.py"),
        ("def verify(s, t): return 1", {"file": "."}, r"task\.verifier\.file: "),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, source: str, options: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        verifier(tmp_path, source, **options)


def test_another_file_or_other_options_are_another_verifier(tmp_path: Path) -> None:
    one = verifier(tmp_path, "def verify(s, t): return 1").fingerprint
    assert verifier(tmp_path, "def verify(s, t): return 1").fingerprint == one
    assert verifier(tmp_path, "def verify(s, t): return 0").fingerprint != one
    assert verifier(tmp_path, "def verify(s, t): return 1", threshold=0.5).fingerprint != one


def test_modules_beside_ours_do_not_shadow_pythons(tmp_path: Path) -> None:
    source = "import code, process_of_mine\ndef verify(s, t): return hasattr(code, 'InteractiveConsole')"
    with pytest.raises(InputError, match="ModuleNotFoundError"):
        verifier(tmp_path, source)
    assert scores(verifier(tmp_path, source.replace(", process_of_mine", "")), "") == [1.0]
    assert "process_of_mine" not in os.listdir(tmp_path)
