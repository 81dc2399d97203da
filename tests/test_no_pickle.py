"""Nothing in the package runs what it reads: no pickles, no code from data, no code from a model's repository."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {"read_pickle", "to_pickle", "loads_pickle", "unsafe_load", "full_load", "system", "popen"}
"""Names that nothing may call, whatever they are attributes of."""


def faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Call):
            yield from in_call(node)
            continue
        else:
            continue
        yield from (name for name in names if set(name.split(".")) & MODULES)


def in_call(node: ast.Call) -> Iterator[str]:
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    called = ast.unparse(node.func)
    name = called.rpartition(".")[2]
    if called in CALLS or name in ATTRIBUTES:
        yield called
    if called == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only"
    if called in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
        yield "np.load without allow_pickle=False"
    if called in ("yaml.load", "yaml.load_all"):
        yield called
    if given.get("trust_remote_code", "False") != "False":
        yield "trust_remote_code"
    if given.get("shell", "False") != "False":
        yield "shell"
    if called.startswith("AutoModel") and name == "from_pretrained" and given.get("use_safetensors") != "True":
        yield "weights that may be pickles"


def test_the_package_runs_nothing_that_it_reads(root: Path):
    files = sorted((root / "src").rglob("*.py"))
    assert len(files) > 100
    assert [(file.name, fault) for file in files for fault in faults(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from os.path import x; from pickle import loads",
        "import a.joblib.b",
        "from a import dill",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "yaml.unsafe_load(f)",
        "eval('1')",
        "exec(text)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "AutoTokenizer.from_pretrained('m', trust_remote_code=True)",
        "AutoModelForCausalLM.from_pretrained('m')",
        "pd.read_pickle(f)",
    ],
)
def test_each_of_them_would_be_found(line: str):
    assert list(faults(line))


def test_what_looks_like_them_is_none():
    fine = "model.eval()\nre.compile(x)\nnp.load(f, allow_pickle=False)\nyaml.safe_load(f)\nsession.exec(x)"
    assert list(faults(fine)) == []
