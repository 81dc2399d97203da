"""LaDa's ServerApp over a grid that sends clients what they must refuse, and gives the server replies that it must.

In a run of the name `replays`, one client gets, once it has learnt, a few messages more; what came back is written to
`tricks.json` in the run's folder. In any other, its reply to `learn` is the one that it gave to `contribute`.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Message

import lada.engines.server_app
from lada.engines import flower, submission
from lada.federation.messages import MESSAGE_TYPE, Envelope, decode, encode

VICTIM = "clinic"
TOO_MUCH = b"x" * (10**6 + 1)


class Tricks:
    """A grid around Flower's."""

    def __init__(self, grid, folder, seal):
        self._grid, self._folder, self._seal = grid, folder, seal
        self._sent = {}
        self._asked = {}
        self._replies = {}

    def get_node_ids(self):
        return self._grid.get_node_ids()

    def push_messages(self, messages):
        messages = list(messages)
        ids = list(self._grid.push_messages(messages))
        self._sent |= dict(zip(ids, messages, strict=True))
        return ids

    def pull_messages(self, message_ids):
        for reply in self._grid.pull_messages(message_ids):
            sent = self._sent[reply.metadata.reply_to_message_id]
            asked, payload = decode(sent.content)
            envelope, _ = decode(reply.content)
            if envelope.sender == VICTIM:
                self._asked[asked.phase] = asked, payload
                self._replies[asked.phase] = reply.content
                if asked.phase == "learn" and self._folder.name == "replays":
                    self._play(sent.metadata.dst_node_id)
                elif asked.phase == "learn":
                    reply.content = self._replies["contribute"]
            yield reply
            yield reply  # each twice: the second answers nothing any more

    def _play(self, node):
        """Send the client what it answered before, and what it must not answer."""
        learn, payload = self._asked["learn"]
        forged, other = {**payload, "paths": b"forged"}, replace(learn, run="other-1")
        tricks = {
            "the same again": (learn, payload),
            "an old one": self._asked["evaluate"],
            "other content": (self._seal.asking(learn, forged), forged),
            "of another run": (self._seal.asking(other, payload), payload),
            "not sealed": (replace(learn, mac=None), payload),
            "other content, the old seal": (learn, forged),
            "another run, the old seal": (other, payload),
            "too large": (replace(learn, round=2), {"paths": TOO_MUCH}),
        }
        _, first = decode(self._replies["learn"])
        told = {}
        for name, (envelope, content) in tricks.items():
            got, reply = self._ask(node, envelope, content)
            told[name] = [got.code, got.reference, reply == first]
        (self._folder / "tricks.json").write_text(json.dumps(told))

    def _ask(self, node: int, envelope: Envelope, payload: dict[str, bytes]):
        ids = list(self._grid.push_messages([Message(encode(envelope, payload), node, MESSAGE_TYPE, group_id="1")]))
        while not (replies := list(self._grid.pull_messages(ids))):
            time.sleep(0.2)
        return decode(replies[0].content)


def main() -> None:
    """Run Flower's process."""
    sys.argv[0] = "flwr-serverapp"
    honest = lada.engines.server_app.server_app

    def tricky(grid, context):
        file = str(context.run_config["submission"])
        binding = submission.binding(file)
        assert binding is not None
        tricks: Any = Tricks(grid, Path(file).parent, binding.seal(VICTIM))
        honest(grid=tricks, context=context)

    lada.engines.server_app.server_app = tricky  # type: ignore[assignment]
    flower.introduce()
    flower.serverapp()


if __name__ == "__main__":
    main()
