"""Records of lada.core.results as bytes: JSON, since they are few and people look at them."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lada.codecs.table import LIMIT
from lada.core.errors import CodecError
from lada.core.plural import counted
from lada.core.results import Record

R = TypeVar("R", bound=Record)


@cache
def _adapter(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind])  # pyright: ignore[reportInvalidTypeForm]


def encode_records(records: Sequence[Record]) -> bytes:
    """Return records of one type as a JSON list in UTF-8."""
    return f"[{','.join(record.model_dump_json() for record in records)}]".encode()


def decode_records(data: bytes, kind: type[R], *, limit: int = LIMIT) -> list[R]:
    """Return records of type `kind`. Raises CodecError, and nothing else, for other bytes or more than `limit`."""
    if len(data) > limit:
        raise CodecError(f"{kind.__name__}: {counted(len(data), 'byte')}; expected at most {limit}")
    try:
        return _adapter(kind).validate_json(data)
    except ValidationError as error:
        location = error.errors(include_input=False)[0]["loc"][:2]  # what lies deeper may be the sender's own words
        where = ".".join(str(part) for part in location if isinstance(part, int) or part in kind.model_fields)
        raise CodecError(f"{kind.__name__}: not readable at {where or 'the top'}") from error
