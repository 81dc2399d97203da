"""Programs in answers: what is run, what the sandbox lets them do, and what passes for right."""

import sys
from pathlib import Path

import pytest

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.verifiers import sandbox
from lada.verifiers.base import Asked, Failure
from lada.verifiers.code import CodeVerifier, has_tests, program_of
from lada.verifiers.options import CodeOptions
from lada.verifiers.sandbox import choose, run

MEMORY = 512 * 2**20


def works(kind: sandbox.SandboxKind) -> bool:
    return run("print(1)", kind, seconds=20, memory=MEMORY) == "1\n"


ISOLATED = [kind for kind in ("bubblewrap", "namespaces") if sys.platform == "linux" and works(kind)]
isolated = pytest.mark.skipif(not ISOLATED, reason="this machine allows neither bubblewrap nor user namespaces")


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("Here:\n```python\nx = 1\n```\nor rather\n```py\nx = 2\n```\nDone.", "x = 2\n"),
        ("```\nx = 3\n```", "x = 3\n"),
        ("x = 4", "x = 4"),
        ("<think>```python\nx = 5\n```</think>x = 6", "x = 6"),
        ("```json\n{}\n```", "```json\n{}\n```"),
        ("1. First:\n   ```python\n   if x:\n       y\n   ```\n", "if x:\n    y\n"),
        ("```py\n    x = 7\n```", "x = 7\n"),
        ("  ```py\n  x = '''a\nb'''\n  ```", "x = '''a\nb'''\n"),
        ("```python\nx = 8\n```\nIt prints:\n```\n8\n```\nDone:\n```text\n8\n```", "x = 8\n"),
        ("~~~python\nx = 9\n~~~", "x = 9\n"),
        ("```python {.numberLines}\nx = 10\n```", "x = 10\n"),
        ("``` {.python}\nx = 11\n```", "x = 11\n"),
        ("```Python3\r\nx = 12\r\n```\r\n", "x = 12\r\n"),
        ("```python\nx = 0\n```\n```python\nx = 13\n", "x = 13\n"),
        ("```python\nx = 0\n```python\nx = 14\n```Done.", "x = 14\n"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''\n"),
        ("```python\nx = 15\n```\n```python\n```", "x = 15\n"),
        ("Use ```x``` so:\n```x = 0```\n```\nx = 16\n```", "x = 16\n"),
    ],
)
def test_the_program_is_the_last_block(text: str, program: str) -> None:
    assert program_of(text) == program


@pytest.mark.parametrize(
    ("entry", "some"),
    [
        ("assert double(2) == 4", True),
        ("from m import f\n\ndef check(f):\n    assert f(1)\n\ncheck(double)", True),
        ("for n in range(3):\n    assert double(n) == 2 * n", True),
        ("if double(2) != 4:\n    raise ValueError", True),
        (None, False),
        ("", False),
        (" \n", False),
        ("# double(2) is 4", False),
        ("pass", False),
        ("'''assert double(2) == 4'''", False),
        ("import math\n\ndef check(f):\n    assert f(1)", False),
        ("class Test:\n    def test(self):\n        assert double(2) == 4", False),
        ("['assert double(2) == 4']", False),
        ("assert (", False),
        ("\0", False),
    ],
)
def test_what_counts_as_a_test(entry: str | None, some: bool) -> None:
    assert has_tests(entry) is some
    if not some:
        verifier = CodeVerifier(CodeOptions(sandbox="none"))
        assert list(verifier.scores([Asked(Sample("s1", "?", entry=entry), "x = 1", None)])) == [0.0]


@isolated
class TestScores:
    TESTS = "assert double(2) == 4\nassert double(-1) == -2"

    def scores(self, *programs: str) -> list[float | Failure]:
        sample = Sample("s1", "Write double.", entry=self.TESTS)
        verifier = CodeVerifier(CodeOptions(seconds=5.0))
        return list(verifier.scores(Asked(sample, f"```python\n{program}\n```", None) for program in programs))

    def test_right_is_what_passes_all_tests(self) -> None:
        right, wrong = "def double(n):\n    return 2 * n", "def double(n):\n    return n * n"
        assert self.scores(right, wrong, "def double(n:", "") == [1.0, 0.0, 0.0, 0.0]

    @pytest.mark.parametrize("end", ["import os; os._exit(0)", "raise SystemExit", "exit()"])
    def test_to_end_before_the_tests_is_wrong(self, end: str) -> None:
        assert self.scores(end) == [0.0]

    def test_what_never_ends_or_prints_for_ever_is_counted(self) -> None:
        loop, flood = self.scores("while True:\n    pass", "while True:\n    print('x' * 1000)")
        assert loop == Failure("took longer than 5 s")
        assert flood == Failure("printed more than 65536 bytes")


@isolated
@pytest.mark.parametrize("kind", ISOLATED)
class TestSandbox:
    def run(self, kind: sandbox.SandboxKind, source: str, seconds: float = 20) -> str | Failure:
        return run(source, kind, seconds=seconds, memory=MEMORY)

    def test_there_is_no_network(self, kind: sandbox.SandboxKind) -> None:
        source = "import socket\nprint([name for _, name in socket.if_nameindex()])"
        assert self.run(kind, source) == "['lo']\n"

    def test_a_server_on_this_machine_is_not_reached(self, kind: sandbox.SandboxKind) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            source = (
                f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\n    print('reached')\n"
            )
            assert self.run(kind, source + "except OSError:\n    print('not reached')") == "not reached\n"

    def test_no_file_can_be_changed(self, kind: sandbox.SandboxKind, root: Path) -> None:
        victim = root / "tests" / "verifiers" / "victim.txt"
        victim.write_text("whole", encoding="utf-8")
        try:
            source = f"import os\nfor do in (lambda: open({str(victim)!r}, 'w'), lambda: os.remove({str(victim)!r})):\n"
            source += "    try:\n        do()\n        print('changed')\n    except OSError as error:\n"
            source += "        print(error.errno)"
            assert self.run(kind, source) == "30\n30\n"  # EROFS
            assert victim.read_text(encoding="utf-8") == "whole"
        finally:
            victim.unlink()

    def test_rights_cannot_be_had_back(self, kind: sandbox.SandboxKind) -> None:
        source = (
            "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd'))])"
        )
        assert self.run(kind, source) == f"{['0' * 16] * 2}\n"

    def test_other_processes_and_the_environment_are_not_seen(
        self, kind: sandbox.SandboxKind, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        source = "import os\nprocesses = [name for name in os.listdir('/proc') if name.isdigit()]\n"
        source += "print(len(processes) <= 2, 'OPENAI_API_KEY' in os.environ)"
        assert self.run(kind, source) == "True False\n"

    def test_memory_files_and_time_are_limited(self, kind: sandbox.SandboxKind) -> None:
        assert self.run(kind, "x = bytearray(2**30)") == Failure("did not run to its end")
        assert self.run(kind, "open('x', 'wb').write(bytes(2**27))") == Failure("did not run to its end")
        assert self.run(kind, "while True:\n    pass", seconds=1) == Failure("took longer than 1 s")

    def test_nothing_is_left_running(self, kind: sandbox.SandboxKind) -> None:
        """A daemon neither outlives its program nor keeps the verifier waiting."""
        source = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\nprint('done')"
        assert self.run(kind, source, seconds=20) == "done\n"


def test_without_a_sandbox_programs_are_refused_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", lambda *arguments, **options: Failure("could not be started"))
    with pytest.raises(
        InputError, match=r"task\.verifier\.sandbox: bubblewrap and namespaces do not work here, .*none"
    ):
        choose("auto")
    with pytest.raises(InputError, match=r"task\.verifier\.sandbox: namespaces do not work here"):
        choose("namespaces")
    with pytest.raises(InputError, match=r"task\.verifier\.sandbox: bubblewrap does not work here"):
        choose("bubblewrap")
    assert choose("none") == "none"


def test_without_a_sandbox_time_memory_and_output_are_limited() -> None:
    assert run("print(1)", "none", seconds=20, memory=MEMORY) == "1\n"
    assert run("x = bytearray(2**30)", "none", seconds=20, memory=MEMORY) == Failure("did not run to its end")
    assert run("while True:\n    pass", "none", seconds=1, memory=MEMORY) == Failure("took longer than 1 s")
