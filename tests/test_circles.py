"""There are no circular imports, of modules or of packages, even inside a function or through a string."""

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lada

HOME = Path(lada.__file__).parent
BY_STRING = re.compile(r"(lada(?:\.\w+)+)(?::\w+)?")
Graph = Mapping[str, set[str]]


def modules(home: Path) -> dict[str, str]:
    """Return the source of each module below `home` by the module's name."""
    return {
        ".".join([home.name, *file.relative_to(home).with_suffix("").parts]).removesuffix(".__init__"): file.read_text(
            encoding="utf-8"
        )
        for file in sorted(home.rglob("*.py"))
    }


def named(code: str, package: str) -> Iterator[tuple[str, ...]]:
    """Yield what a module may import, by any means except for types only, with the names that each may have."""
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from ((f"{base}.{alias.name}", base) for alias in node.names)
        elif isinstance(node, ast.Call):  # import_module("lada.x"), preload=("lada.x", ...); not `python -m lada.x`
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("python", "files", "PackageLoader", "getLogger"):
                waiting = [other for other in waiting if other not in node.args]
        elif isinstance(node, ast.Constant) and (found := BY_STRING.fullmatch(str(node.value))):
            yield (found[1],)


def imports(sources: Mapping[str, str]) -> Graph:
    """Return which of the modules each one imports."""
    graph: dict[str, set[str]] = {}
    for module, code in sources.items():
        package = module if any(other.startswith(f"{module}.") for other in sources) else module.rpartition(".")[0]
        found = (next((name for name in names if name in sources), module) for names in named(code, package))
        graph[module] = set(found) - {module}
    return graph


def packages(graph: Graph) -> Graph:
    """Return what each package imports from; a package is a folder of `lada`, or a module in its root."""
    merged: dict[str, set[str]] = {}
    for module, imported in graph.items():
        package = merged.setdefault(package_of(module), set())
        package |= {package_of(other) for other in imported} - {package_of(module)}
    return merged


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def circle(graph: Graph) -> list[str]:
    """Return a circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def package() -> Graph:
    """Give which modules of LaDa each one imports."""
    return imports(modules(HOME))


def test_no_module_imports_itself_through_others(package: Graph) -> None:
    assert circle(package) == []


def test_no_package_imports_itself_through_others(package: Graph) -> None:
    assert len(packages(package)) > 20
    assert circle(packages(package)) == []


@pytest.mark.parametrize(
    "code",
    [
        "from lada.b import x",
        "from lada import b",
        "import lada.b",
        "from .b import x",
        "def f():\n    from lada.b import x",
        "import_module('lada.b')",
        "PRELOAD = ('lada.b', 'json')",
        "open_node = 'lada.b:open_node'",
    ],
)
def test_a_circle_is_found_however_it_is_imported(code: str) -> None:
    graph = imports({"lada": "", "lada.a": code, "lada.b": "def g():\n    import lada.a", "lada.c": "import lada.a"})
    assert graph["lada.a"] == {"lada.b"}
    assert set(circle(graph)) == {"lada.a", "lada.b"}


def test_neither_types_alone_nor_words_nor_other_processes_count() -> None:
    code = '"""See lada.b."""\nif TYPE_CHECKING:\n    import lada.b\nsay("lada.b is there")\npython("lada.b", "go")\n'
    assert imports({"lada.a": code, "lada.b": "import lada.a"}) == {"lada.a": set(), "lada.b": {"lada.a"}}


def test_a_circle_of_packages_is_found_where_no_module_has_one() -> None:
    graph = imports(
        {"lada.a.one": "import lada.b.one", "lada.b.one": "", "lada.b.two": "import lada.a.two", "lada.a.two": ""}
    )
    assert circle(graph) == []
    assert set(circle(packages(graph))) == {"lada.a", "lada.b"}
