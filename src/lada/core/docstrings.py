"""The docstrings below the fields of a class, since Python keeps only those of classes and functions."""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise


def field_docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings of a class's annotated fields, including inherited ones, by field name."""
    return {name: told for base in reversed(kind.__mro__) for name, told in _own(base).items()}


def _own(kind: type) -> dict[str, str]:
    body = _classes(kind.__module__).get(kind.__qualname__, [])
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """Return the bodies of a module's top-level classes; empty if its source is not available."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return {}
    return {node.name: node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
