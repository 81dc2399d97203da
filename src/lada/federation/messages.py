"""Messages on the wire: converts a payload and its envelope into a Flower RecordDict and back, with full checks."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.core.plural import counted

if TYPE_CHECKING:
    from flwr.app import RecordDict

ACTION = "lada"
MESSAGE_TYPE = f"query.{ACTION}"
HELLO = "hello"
"""The phase in which a client only gives its name."""
SERVER = "server"
"""The server's name in envelopes and in the ledger."""

ENVELOPE, PAYLOAD = "envelope", "payload"
DTYPE, STYPE = "uint8", "bytes"
NAME_LENGTH = 200
"""The most characters of the name of a run, phase, party or kind."""
PHASE = re.compile(r"[a-z][a-z0-9-]*")
"""A phase is the name of a folder at the client."""
MAC = re.compile(r"[0-9a-f]{64}")


class Code(StrEnum):
    """The failure of one client. Only FAILED and MALFORMED are ever sent; the server detects the others itself."""

    FAILED = "failed"  # the client's half raised an exception
    MALFORMED = "malformed"  # a message could not be read
    SILENT = "silent"  # no reply before the deadline
    DIED = "died"  # the client's process ended over the message
    LOST = "lost"  # the client's node lost contact, or came back without knowing of the message
    ABSENT = "absent"  # no node of the client's name is connected
    ENGINE = "engine"  # Flower could not deliver the message or the reply
    FORGED = "forged"  # the reply from the client's node is not the client's own


@dataclass(frozen=True, slots=True)
class Envelope:
    """The metadata of a message. Unlike Flower's own run id, `run` stays the same after a resubmission.

    `code` is set if the sender failed; `reference` is then the number of the cause in the sender's own log (8
    hexadecimal digits). An envelope never contains an error's text. `seconds` is how long a client worked on its reply,
    as it reports. `mac` is set in a deployment (lada.federation.seal).
    """

    run: str
    phase: str
    round: int
    sender: str
    code: Code | None = None
    reference: str | None = None
    seconds: float | None = None
    mac: str | None = None


def encode(envelope: Envelope, payload: Mapping[str, bytes]) -> "RecordDict":
    """Return the message as records: one uint8 array [bytes] per kind. Raises FederationError if `decode` would."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict  # here, since names and codes are used without it

    fields: dict[str, int | float | str] = {
        "run": envelope.run,
        "phase": envelope.phase,
        "round": envelope.round,
        "sender": envelope.sender,
    }
    if envelope.code is not None:
        fields |= {"code": str(envelope.code), "reference": envelope.reference or ""}
    if envelope.seconds is not None:
        fields["seconds"] = envelope.seconds
    if envelope.mac is not None:
        fields["mac"] = envelope.mac
    for kind, data in payload.items():
        if not isinstance(data, bytes):
            raise FederationError(f"message: {kind!r} is of type {type(data).__name__}; expected bytes")
    arrays = {kind: Array(dtype=DTYPE, shape=(len(data),), stype=STYPE, data=data) for kind, data in payload.items()}
    records = RecordDict({ENVELOPE: ConfigRecord({**fields}), PAYLOAD: ArrayRecord(arrays)})
    decode(records)
    return records


def decode(records: "RecordDict", limit: int | None = None) -> tuple[Envelope, dict[str, bytes]]:
    """Return envelope and payload, kinds sorted. A message of more than `limit` bytes is not read.

    Raises FederationError for anything that `encode` does not write. The error names the field but never its value,
    which may be private or hostile.
    """
    from flwr.app import ArrayRecord, ConfigRecord

    size = sum(len(array.data) for record in records.array_records.values() for array in record.values())
    if limit is not None and size > limit:
        raise FederationError(
            f"message: it has {counted(size, 'byte')} and the limit is {limit}; let the sender send less, or raise "
            "limits.max_message_bytes"
        )
    if set(records) != {ENVELOPE, PAYLOAD}:
        raise FederationError(f"message: expected exactly the records {ENVELOPE!r} and {PAYLOAD!r}")
    fields, arrays = records[ENVELOPE], records[PAYLOAD]
    if not isinstance(fields, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise FederationError("message: expected a ConfigRecord as envelope and an ArrayRecord as payload")
    envelope = _envelope(dict(fields))
    if envelope.code is not None and arrays:
        raise FederationError("message: an error must carry no payload")
    for kind, array in arrays.items():
        _check_name("kind", kind)
        if array.dtype != DTYPE or array.stype != STYPE or tuple(array.shape) != (len(array.data),):
            raise FederationError(f"message: expected each kind as {DTYPE} bytes of the length it declares")
    return envelope, {kind: arrays[kind].data for kind in sorted(arrays)}


def _envelope(fields: dict[str, object]) -> Envelope:
    names = {"run", "phase", "round", "sender"}
    mac = fields.pop("mac", None)
    if set(fields) not in (names, names | {"seconds"}, names | {"code", "reference"}):
        raise FederationError("message: the envelope has an unknown field or lacks one")
    round, code, reference = fields["round"], fields.get("code"), fields.get("reference")
    seconds = fields.get("seconds")
    if type(round) is not int or round < 0:
        raise FederationError("message: round: expected an integer of at least 0")
    if code is None:
        known = None
    elif code in (Code.FAILED, Code.MALFORMED):
        known = Code(code)
    else:
        raise FederationError(f"message: code: expected {Code.FAILED!r} or {Code.MALFORMED!r}")
    if reference is not None and not (
        isinstance(reference, str) and len(reference) == 8 and set(reference) <= set("0123456789abcdef")
    ):
        raise FederationError("message: reference: expected 8 hexadecimal digits")
    if seconds is not None and not (isinstance(seconds, float) and math.isfinite(seconds) and seconds >= 0):
        raise FederationError("message: seconds: expected a finite number of at least 0")
    if mac is not None and not (isinstance(mac, str) and MAC.fullmatch(mac)):
        raise FederationError("message: mac: expected 64 hexadecimal digits")
    run, phase, sender = (_check_name(name, fields[name]) for name in ("run", "phase", "sender"))
    if not PHASE.fullmatch(phase):
        raise FederationError("message: phase: expected lower-case letters, digits and hyphens, such as 'learn'")
    return Envelope(run, phase, round, sender, known, reference, seconds, mac)


def _check_name(field: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH or not value.isprintable():
        raise FederationError(f"message: {field}: expected 1 to {NAME_LENGTH} printable characters")
    return value
