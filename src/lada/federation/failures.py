"""The outcomes of a message to a client other than a usable reply."""

from dataclasses import dataclass

from lada.core.known import Known
from lada.federation.messages import Code, Envelope

Reply = tuple[Envelope, Known]


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why there is no usable reply; `detail` is the server's own text or the client's reference number.

    `sender` is the client if it reported the failure itself. `cause` is the client's own text if all parties belong to
    one user.
    """

    code: Code
    detail: str = ""
    sender: str = ""
    cause: str = ""

    def __str__(self) -> str:
        texts = {
            Code.FAILED: f"failed{self.cause and f': {self.cause}'} (reference {self.detail} in errors.log in its own "
            "folder)",
            Code.MALFORMED: f"malformed message ({self.detail})",
            Code.SILENT: f"silent (no reply within {self.detail} s)",
            Code.DIED: "died (its process ended over the message)",
            Code.LOST: f"lost (its node lost contact{self._in_vain()})",
            Code.ABSENT: "absent (no node of that name is connected)",
            Code.ENGINE: "engine error (Flower could not deliver the message or its reply)",
            Code.FORGED: f"dropped ({self.detail})",
        }
        return texts[self.code]

    def _in_vain(self) -> str:
        return f", and no reply came within {self.detail} s" if self.detail else ""
