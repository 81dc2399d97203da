"""Secure aggregation: the server learns the sum of the clients' adapters but no single one (arXiv 1611.04482).

The protocol of Bonawitz et al. 2017 for an honest but curious server. After the clients' study:

    clients   draw two key pairs; send the public keys                          with the study's reply
    clients   receive all public keys; draw the seed b of a mask of their own; send each other, sealed, shares of b
              and of a private key                                                             `share`
    clients   receive their shares; send adapter times samples plus the mask of b, plus or minus a mask shared
              with each other client                                                           `mask`
    clients   receive the names of those whose masked adapters arrived; send their shares of b for those, and of the
              private key for the others                                                       `unmask`
    server    removes the masks of b, and the shared masks with clients whose adapters are missing; the rest is the
              sum

Shared masks cancel in the sum. A client that falls silent after `share` leaves its masks in the others' numbers; its
private key, reassembled from shares, removes them. If its own adapter arrives late, the mask of its b still protects
it: no client sends a share of that b, since each sends only one of the two. More than half of the clients must answer
`unmask`, and at least two adapters must arrive. Otherwise, or if the masks do not cancel, the round has no average. A
notice says why, and the run continues with the newest average.

Keys, seeds and the nonces of seals come from the machine's randomness. The average is bit-for-bit the same for any of
them, since masks cancel exactly. A client keeps its state between phases in its own checkpoint, and forgets its secrets
when it sends its shares.

The server cannot clip, hold or weight what it does not see. Each client therefore clips its own update to `update_norm`
and counts its own samples. A client that lies about either ruins the average. A client with an invalid key, or without
shares for all others, counts as missing. A wrong share shows only at the end, and costs the round its average.
"""

from collections.abc import Mapping

from lada.codecs import masked, named
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.rounds.base import MessageSchema, Phase

KEYS, SHARES, MASKED, SURVIVORS, OPENED = named.KEYS, named.SHARES, masked.KIND, named.SURVIVORS, named.OPENED
LEAST = 3
"""The minimum number of clients: each of two could subtract its own adapter from the sum."""


def check_enough(clients: int) -> None:
    """Raise InputError if secure aggregation does not support that many clients."""
    if not LEAST <= clients <= named.MOST_CLIENTS:
        raise InputError(
            f"host.options.secure_aggregation: {counted(clients, 'client')} in a round; expected {LEAST} to "
            f"{named.MOST_CLIENTS}, "
            "or false"
        )


PHASES: Mapping[str, Phase] = {
    "share": Phase(MessageSchema(frozenset({KEYS})), MessageSchema(frozenset({SHARES}))),
    "mask": Phase(MessageSchema(frozenset({SHARES})), MessageSchema(frozenset({MASKED}))),
    "unmask": Phase(MessageSchema(frozenset({SURVIVORS})), MessageSchema(frozenset({OPENED}))),
}
"""The phases between the clients' study and the average."""
