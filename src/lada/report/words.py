"""The format of numbers on the page."""

import math

from markupsafe import Markup

from lada.core.results import Interval

NONE = "–"
THIN = "\u202f"
"""Narrow space between a number and its unit; it does not break."""


def number(value: float | None, digits: int = 1) -> str:
    """Return `61.0`, or a dash for None and NaN."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def percent(value: float) -> str:
    """Return `61.0 %`."""
    return f"{number(value)}{THIN}%"


def whole_percent(value: float) -> str:
    """Return `61 %`, for axes and tips, where decimals are pointless."""
    return f"{value:.3g}{THIN}%"


def difference(value: float | None) -> str:
    """Return `+41.2` or `−3.0`."""
    return NONE if value is None else f"{value:+.1f}".replace("-", "−")


def interval(value: Interval | None) -> Markup:
    """Return `61.0` with its 95 % interval in small type, percent."""
    if value is None:
        return Markup(NONE)
    return Markup("{} <small>{}–{}</small>").format(number(value.value), number(value.low), number(value.high))


def size(count: float) -> str:
    """Return bytes in readable form, in powers of 1000, with at most three digits: `999 B`, `1.2 kB`, `12.3 MB`, `412
    MB`."""
    if round(count) < 1000:
        return f"{count:.0f}{THIN}B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if round(count) < 1000 or unit == "TB":
            break
    return f"{count:.{1 if round(count, 1) < 100 else 0}f}{THIN}{unit}"


def duration(seconds: float) -> str:
    """Return seconds in readable form: `12.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    whole = round(seconds / 60)
    return f"{whole // 60}{THIN}h {whole % 60:02d}{THIN}min"
