"""Whether two outcomes are the same: nests of arrays, numbers and texts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def leaves(value: Any, where: str = "") -> list[tuple[str, Any]]:
    """Return what an outcome consists of, each part with its place."""
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in leaves(value[key], f"{where}/{key}")]
    if isinstance(value, (list, tuple)):
        return [leaf for place, each in enumerate(value) for leaf in leaves(each, f"{where}/{place}")]
    if is_dataclass(value):
        return [leaf for each in fields(value) for leaf in leaves(getattr(value, each.name), f"{where}/{each.name}")]
    return [(where, value)]


def same(one: Any, other: Any, *, close: float = 0.0) -> None:
    """Assert that two outcomes are the same: bit for bit, or with numbers up to a relative difference of `close`."""
    ours, theirs = leaves(one), leaves(other)
    assert [where for where, _ in ours] == [where for where, _ in theirs]
    for (where, a), (_, b) in zip(ours, theirs, strict=True):
        if isinstance(a, (np.ndarray, np.number, float)):
            x, y = np.asarray(a), np.asarray(b)
            assert (x.dtype, x.shape) == (y.dtype, y.shape), where
            np.testing.assert_allclose(x, y, rtol=close, atol=close, err_msg=where)
        else:
            assert a == b, where
