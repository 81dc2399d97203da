"""Logs of long-running commands and their child processes: lines of text, or one JSON object per line."""

import json
import logging
import os
import sys
import time
import traceback
from textwrap import indent
from types import TracebackType
from typing import IO, Any

from lada.core.errors import InputError
from lada.core.shown import in_one_line, shown, shown_json

VARIABLE = "LADA_LOG_FORMAT"
"""The environment variable, inherited by child processes: `text` (default) or `json`."""
WHERE = ("party", "run", "round", "phase")
"""Optional fields of a line, given as `extra`."""


def as_json() -> bool:
    """Return whether logs are JSON. Raises InputError if the variable is neither `text` nor `json`."""
    form = os.environ.get(VARIABLE) or "text"
    if form not in ("text", "json"):
        raise InputError(f"{VARIABLE}: {form!r} is not a log format; expected text or json")
    return form == "json"


def set_up(stream: IO[str]) -> None:
    """Make the loggers below `lada` write to `stream`. As JSON, this includes all other loggers, warnings and crashes.

    Raises InputError as `as_json` does.
    """
    json_ = as_json()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if json_ else Lines("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    ours = logging.getLogger("lada")
    ours.setLevel(logging.INFO)
    ours.handlers, ours.propagate = [handler], False
    if json_:
        logging.getLogger().handlers = [handler]
        logging.captureWarnings(True)
        sys.excepthook = _ended


class Lines(logging.Formatter):
    """One line per message, whatever its content, so that no text can pass for another line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, without its end."""
        return in_one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return an exception's lines, indented."""
        return indent(shown(super().formatException(ei)), "  ")


class JsonLines(logging.Formatter):
    """One object per line: time (UTC), level, logger, message; and party, run, round and phase if known.

    For an exception it gives the type and the place, but not the text, which may repeat private data.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: record.__dict__[key] for key in WHERE if key in record.__dict__}
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            for frame in traceback.extract_tb(record.exc_info[2])[-1:]:
                line["at"] = f"{frame.filename}:{frame.lineno}"
        return shown_json(json.dumps(line, ensure_ascii=False, default=str))


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("lada").critical("the process ended", exc_info=(kind, error, trace))
