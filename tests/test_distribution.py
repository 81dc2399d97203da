"""The distribution's name and its extras: one name everywhere, and every hint can be followed."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lada.cli.main import app
from lada.core.distribution import DISTRIBUTION, install_command, lada_version

ROOT = Path(__file__).parent.parent
TEXTS = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.yaml"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "benchmarks").glob("*.py"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Give the table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_project_has_the_name_that_hints_have(project: dict[str, Any]):
    assert project["name"] == DISTRIBUTION
    assert project["scripts"] == {"lada": "lada.cli.main:app"}
    assert lada_version() == project["version"]


def test_the_command_says_its_version(project: dict[str, Any]):
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"lada {project['version']}\n")


def test_a_hint_names_the_distribution():
    assert install_command() == "pip install lada-fed"
    assert install_command("hub") == "pip install 'lada-fed[hub]'"


def test_every_hint_can_be_followed(project: dict[str, Any]):
    named = [
        (file, found)
        for file in TEXTS
        for found in re.findall(
            r"'([a-z-]+\[[a-z-]+\])'|install_command\('([a-z-]+)'\)|"
            r"(?:require|look_for|needed)\(\"[a-z-]+\"(?:, [^,()]+)?, \"([a-z-]+)\"",
            file.read_text(encoding="utf-8"),
        )
    ]
    assert len(named) > 20
    for file, (written, *extras) in named:
        extra = "".join(extras)
        if written.startswith("lada") or extra:
            name, _, inner = written.rstrip("]").partition("[")
            assert name in ("", DISTRIBUTION), f"{file}: {written}"
            assert (extra or inner) in project["optional-dependencies"], f"{file}: {written or extra}"


def test_type_checkers_may_read_the_package(project: dict[str, Any]):
    assert "Typing :: Typed" in project["classifiers"]
    assert (ROOT / "src/lada/py.typed").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_a_wheel_has_all_that_the_package_reads():
    """It has the files that git does not ignore."""
    command = ["git", "-C", str(ROOT), "ls-files", "--others", "--ignored", "--exclude-standard", "src/lada"]
    ignored = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [file for file in ignored if "__pycache__" not in file] == []


def test_nothing_is_installed_by_the_name_of_another_project():
    installs = re.compile(r"pip install (?:-\S+ )*'?lada(?!-fed)\b")
    assert [file for file in TEXTS if installs.search(file.read_text(encoding="utf-8"))] == []
