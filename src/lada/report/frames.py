"""Records of a run as data frames: one row per record, nested values as columns of their own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lada.core.extras import require
from lada.core.results import Interval, Record

if TYPE_CHECKING:
    from pandas import DataFrame

BOUNDS = ("low", "high", "count")


def frame(records: Sequence[Record]) -> "DataFrame":
    """Return one row per record, in order.

    An interval fills four columns: `overall`, `overall_low`, `overall_high` and `overall_count`. An entry of a mapping
    fills a column such as `diagnostics.auc`. Raises InputError if pandas is missing.
    """
    pandas = require("pandas", "a data frame", "notebook")
    return pandas.DataFrame([dict(_cells(record)) for record in records])


def _cells(record: Record) -> Iterator[tuple[str, Any]]:
    for name, value in record:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _cell(f"{name}.{key}", inner)
        else:
            yield from _cell(name, value)


def _cell(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Interval):
        yield name, value.value
        yield from ((f"{name}_{bound}", getattr(value, bound)) for bound in BOUNDS)
    else:
        yield name, value
