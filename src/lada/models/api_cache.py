"""Answers that have been paid for, one file each, so that no crash makes anybody pay twice."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Reply(BaseModel):
    """What a server answered to one request. The counts of tokens are None where the server does not give them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str
    log_probs: tuple[float, ...] | None
    """Of the text's tokens, nats (<= 0); None where they were not asked for or the text is empty."""
    input_tokens: int | None
    output_tokens: int | None


def digest_of(base_url: str, style: str, body: dict[str, Any]) -> str:
    """Return the SHA-256 over all that determines an answer: where it comes from and what was asked, not the key."""
    return hashlib.sha256(json.dumps([base_url, style, body], sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Replies by request digest in a folder, which several processes may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> Reply | None:
        """Return the reply to a request; None where there is none or its file is damaged."""
        try:
            checksum, _, content = self._file(digest).read_bytes().partition(b"\n")
            if checksum.decode() == hashlib.sha256(content).hexdigest():
                return Reply.model_validate_json(content)
        except (OSError, UnicodeDecodeError, ValidationError):
            pass
        return None

    def put(self, digest: str, reply: Reply) -> None:
        """Keep a reply: its file appears whole or not at all. Raises OSError for a folder that cannot be written to."""
        content = reply.model_dump_json().encode()
        file = self._file(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _file(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.json"
