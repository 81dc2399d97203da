"""Plug-ins that stand in for somebody else's: a file each, outside the package, registered for a while only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from lada.points import POINTS

TESTS = Path(__file__).parent
EXAMPLES = {
    name: TESTS / folder / f"{name}.py"
    for folder, name in (
        ("objectives", "plugged"),
        ("fusers", "fair"),
        ("policies", "thrift"),
        ("hooks", "slower"),
        ("aggregators", "keep"),
        ("codecs", "int8_adapter"),
        ("learners", "parrot"),
    )
}


@contextmanager
def registered(*names: str) -> Iterator[dict[str, ModuleType]]:
    """Let the registries know the methods of these examples for a while; give their modules by name."""
    registries = [point.registry for point in POINTS.values()]
    before = [(registry.names(), dict(registry._methods))[1] for registry in registries]
    modules = {f"lada_example_{name}": EXAMPLES[name] for name in names}
    try:
        for name, file in modules.items():
            spec = spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        yield {name.removeprefix("lada_example_"): sys.modules[name] for name in modules}
    finally:
        for registry, methods in zip(registries, before, strict=True):
            registry._methods.clear()
            registry._methods.update(methods)
