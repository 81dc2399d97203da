"""Log lines for users and for machines never contain the text of an exception."""

import io
import json
import logging
import sys
import warnings

import pytest

from lada.core import logs
from lada.core.errors import InputError


@pytest.fixture
def log(monkeypatch):
    """Give a function that sets logging up in a format and returns the stream."""
    ours, root = logging.getLogger("lada"), logging.getLogger()
    before = (ours.handlers, ours.propagate, ours.level, root.handlers, sys.excepthook)

    def set_up(form):
        monkeypatch.setenv(logs.VARIABLE, form)
        stream = io.StringIO()
        logs.set_up(stream)
        return stream

    yield set_up
    logging.captureWarnings(False)
    ours.handlers, ours.propagate, _, root.handlers, sys.excepthook = before
    ours.setLevel(before[2])


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_as_json(log):
    stream = log("json")
    record = logging.LogRecord("lada.worker", logging.INFO, "x", 1, "phase %s\n“ß”", ("learn",), None)
    record.created, record.msecs = 1_000_000_000.25, 250.0
    record.__dict__ |= {"party": "clinic", "run": "demo-1", "round": 2, "phase": "learn", "other": "left out"}
    logging.getLogger("lada").handle(record)
    assert stream.getvalue().count("\n") == 1
    assert "“ß”" in stream.getvalue()
    assert lines(stream) == [
        {
            "time": "2001-09-09T01:46:40.250Z",
            "level": "info",
            "logger": "lada.worker",
            "message": "phase learn\n“ß”",
            "party": "clinic",
            "run": "demo-1",
            "round": 2,
            "phase": "learn",
        }
    ]


def test_of_an_exception_there_is_the_kind_and_the_place_alone(log):
    stream = log("json")
    try:
        raise ValueError("patient 17")
    except ValueError as error:
        logging.getLogger("lada.worker").exception("failed")
        sys.excepthook(type(error), error, error.__traceback__)
    failed, ended = lines(stream)
    assert (failed["message"], failed["error"], failed["level"]) == ("failed", "ValueError", "error")
    assert failed["at"].startswith(f"{__file__}:")
    assert (ended["message"], ended["level"]) == ("the process ended", "critical")
    assert "patient" not in stream.getvalue()


def test_other_loggers_and_warnings_are_json_too(log):
    stream = log("json")
    logging.getLogger("somebody").error("else")
    warnings.warn("mind that", stacklevel=1)
    assert [line["logger"] for line in lines(stream)] == ["somebody", "py.warnings"]


@pytest.mark.parametrize("form", ["text", ""])
def test_lines_for_people_are_the_default_and_others_loggers_are_left_alone(log, form):
    root = logging.getLogger().handlers
    stream = log(form)
    logging.getLogger("lada.server").info("ready", extra={"party": "clinic"})
    logging.getLogger("somebody").error("else")
    day, _, text = stream.getvalue().split(" ")
    assert (len(day), text) == (10, "ready\n")
    assert logging.getLogger().handlers is root


def test_another_format_is_refused(log):
    with pytest.raises(InputError, match="LADA_LOG_FORMAT: 'xml' is not a log format; expected text or json"):
        log("xml")
