"""Finds out from its head which node sent a request: Flower checks this only after it has read the body."""

import binascii
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from lada.engines.fence import Scope, Sender


def sender_of(state: Callable[[], Any]) -> Sender:
    """Return a function that finds the registered key which signed a request's time, given Flower's state of the
    SuperLink.

    The signature covers only the time. So it identifies the sender but not the content, which Flower checks.
    """
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

    def sender(scope: Scope) -> bytes | None:
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        try:
            key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
            if state().get_node_id_by_public_key(key) is None:
                return None
            signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER], validate=True)
            time = headers[TIMESTAMP_HEADER].decode("ascii")
            age = (now() - datetime.fromisoformat(time)).total_seconds()
            if not -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
                return None
            signed = verify_signature(bytes_to_public_key(key), time.encode("ascii"), signature)
        except (KeyError, ValueError, TypeError, binascii.Error):
            return None
        return key if signed else None

    return sender
