import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lada.core.errors import InputError
from lada.core.needs import Needs, needs
from lada.core.registry import Method, Options, Registry
from lada.core.terms import Verb

PACKAGE = "registry_under_test"


class Width(Options):
    width: int = 3


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lay out an importable package: base.py with the registry METHODS, and whatever modules the test adds."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> Registry[Any]:
        base = f"from lada.core.registry import Registry\nMETHODS = Registry('method', '{PACKAGE}')\n"
        for name, text in {"__init__": "", "base": base, **modules}.items():
            (folder / f"{name}.py").write_text(text)
        return __import__(f"{PACKAGE}.base", fromlist=["METHODS"]).METHODS

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def method(name: str, then: str = "") -> str:
    return f"""
from {PACKAGE}.base import METHODS

@METHODS.register({name!r})
def make(options):
    "Be {name}."

{then}
"""


def loaded(name: str) -> bool:
    return f"{PACKAGE}.{name}" in sys.modules


def test_a_method_is_a_row_of_the_index(package):
    registry = package()

    @registry.register(
        "wide",
        options=Width,
        paper="arXiv 1",
        status="our reading",
        needs=needs({Verb.ANSWER}, {Verb.JUDGE, Verb.STUDY}),
    )
    def make(options: Width) -> int:
        """Give the width.

        More words.
        """
        return options.width

    wide = registry.get("wide")
    assert wide == Method("wide", make, Width, "arXiv 1", "our reading", "Give the width.", wide.needs)
    assert wide.default_needs == Needs(teacher=frozenset({Verb.ANSWER}), student=frozenset({Verb.JUDGE, Verb.STUDY}))
    assert registry.get("wide").make(Width(width=5)) == 5


def test_the_option_that_a_need_is_due_to_is_named(package):
    registry = package()

    class Asking(Options):
        judges: bool = False
        continues: float | None = None

    def asked(options: Asking):
        both = {Verb.JUDGE: options.judges, Verb.CONTINUE: options.continues is not None}
        return needs({Verb.ANSWER, *(verb for verb, so in both.items() if so)}, {Verb.STUDY})

    @registry.register("asking", options=Asking, needs=asked)
    def make(options: Asking) -> None: ...

    asking = registry.get("asking")
    assert asking.due_to({"continues": 0.5, "judges": True}, {Verb.CONTINUE}) == ("continues",)
    assert asking.due_to({"continues": 0.5, "judges": True}, {Verb.CONTINUE, Verb.JUDGE}) == ()  # no single one
    assert asking.due_to({"judges": True}, {Verb.ANSWER}) == ()
    assert asking.due_to({"judges": True}, {Verb.STUDY}) == ()


@pytest.mark.parametrize("doc", [None, "", "  \n "])
def test_without_words_the_summary_is_empty(package, doc):
    registry = package()

    def make(options: Options) -> None: ...

    make.__doc__ = doc
    registry.register("plain")(make)
    plain = registry.get("plain")
    assert plain == Method("plain", make, Options, "", "confirmed", "", plain.needs)
    assert plain.default_needs == Needs()


def test_a_class_registers_and_stays_itself(package):
    registry = package()

    @registry.register("shape")
    class Shape:
        """Have a shape."""

        def __init__(self, options: Options) -> None:
            self.options = options

    assert registry.get("shape").make is Shape
    assert registry.get("shape").summary == "Have a shape."


@pytest.mark.parametrize("name", ["", "a/b", "a|b", "..", "../up", "a b", "a>b", "memory|x", "a\n"])
def test_a_name_must_not_divide_an_address(package, name):
    registry = package()
    with pytest.raises(ValueError, match="cannot be a name; expected letters"):
        registry.register(name)(lambda options: 1)
    assert registry.names() == []


def test_two_methods_must_not_share_a_name(package):
    registry = package()
    registry.register("same")(lambda options: 1)
    with pytest.raises(ValueError, match="two methods are named 'same'"):
        registry.register("same")(lambda options: 2)
    assert registry.get("same").make(None) == 1


def test_unknown_name_is_answered_with_the_nearest(package):
    registry = package(one=method("random"), two=method("lada"))
    with pytest.raises(InputError) as error:
        registry.get("randon")
    assert str(error.value) == "method: unknown name 'randon'; expected one of lada, random; did you mean 'random'?"
    with pytest.raises(InputError, match=r"expected one of lada, random$"):
        registry.get("xyz")


@pytest.mark.parametrize(
    "ask", [Registry.names, list, lambda registry: registry.get("first")], ids=["names", "iterate", "get"]
)
def test_modules_are_imported_on_first_use(package, ask):
    registry = package(b=method("first"), a=method("second"))
    assert not loaded("a")
    assert not loaded("b")
    ask(registry)
    assert loaded("a")
    assert loaded("b")
    assert registry.names() == ["first", "second"]


def test_methods_come_sorted_and_are_loaded_once(package):
    registry = package(b=method("first"), a=method("second"))
    assert [row.name for row in registry] == ["first", "second"]
    assert [row.summary for row in registry] == ["Be first.", "Be second."]


def test_a_module_that_asks_while_it_is_imported(package):
    registry = package(a=method("first", "METHODS.get('first')"), b=method("second"))
    assert registry.names() == ["first", "second"]


def test_a_module_that_fails_is_not_passed_over(package):
    registry = package(a=method("fine"), b="raise ImportError('needs a package')")
    for _ in range(2):
        with pytest.raises(ImportError, match="needs a package"):
            registry.get("fine")


def test_options_are_strict_and_do_not_change():
    assert Width(width=4).width == 4
    for wrong in ({"widht": 4}, {"width": "4"}, {"width": 4.0}):
        with pytest.raises(ValidationError):
            Width.model_validate(wrong)
    with pytest.raises(ValidationError):
        Width().width = 4
