"""A cache of paid answers, one file each, so that no answer is paid for twice after a crash."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lada.core.sealed import sync

R = TypeVar("R", bound=BaseModel)


def digest_of(base_url: str, style: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the SHA-256 over everything that determines an answer: the server and the request, but not the key.

    `headers` are those in addition to the usual ones.
    """
    asked = [base_url, style, body, *([headers] if headers else [])]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Replies by request digest in a folder, which several processes may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str, kind: type[R]) -> R | None:
        """Return the reply to a request, of type `kind`; None if there is none or its file is damaged."""
        try:
            checksum, _, content = self._file(digest).read_bytes().partition(b"\n")
            if checksum.decode() == hashlib.sha256(content).hexdigest():
                return kind.model_validate_json(content)
        except (OSError, UnicodeDecodeError, ValidationError):
            pass
        return None

    def put(self, digest: str, reply: BaseModel) -> None:
        """Store a reply. Its file appears complete or not at all, even after a power cut.

        Raises OSError if the folder cannot be written to.
        """
        content = reply.model_dump_json().encode()
        file = self._file(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            sync(Path(name))
            os.replace(name, file)
            sync(file.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _file(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.json"
