"""A party's measurements, row by row. The cost of adding a row does not depend on how many there are."""

from collections.abc import Mapping, Sequence
from typing import Any

from lada.core.results import PartyReport, key_of


class Noted:
    """The rows of a growing report, by field of PartyReport."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {name: [] for name in PartyReport.model_fields}
        self._keys: dict[str, set[Any]] = {name: set() for name in self.rows}
        self._keyed = dict.fromkeys(self.rows, 0)
        self._handed = self._counts()
        self._report: PartyReport | None = None

    def add(self, records: Mapping[str, Sequence[Any]]) -> None:
        """Add rows by field."""
        for name, rows in records.items():
            self.rows[name] += rows
        self._report = None

    def report(self) -> PartyReport:
        """Return all rows. It copies them, so call it only if all are needed."""
        if self._report is None:
            self._report = _report_of(self.rows)
        return self._report

    def fresh(self) -> PartyReport:
        """Return the rows added since the last call."""
        before, self._handed = self._handed, self._counts()
        return _report_of({name: rows[before[name] :] for name, rows in self.rows.items()})

    def has(self, field: str, row: Any) -> bool:
        """Return whether there is a row with the same key, such as party and round; for a notice, the same text."""
        keys, rows = self._keys[field], self.rows[field]
        keys.update(map(key_of, rows[self._keyed[field] :]))
        self._keyed[field] = len(rows)
        return key_of(row) in keys

    def _counts(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.rows.items()}


def _report_of(rows: Mapping[str, Sequence[Any]]) -> PartyReport:
    return PartyReport().model_copy(update={name: tuple(each) for name, each in rows.items()})
