"""Secure aggregation: the server learns the sum of the clients' adapters and no single one (arXiv 1611.04482).

The protocol of Bonawitz et al. 2017 for a server that keeps to it and is curious. After the clients studied:

    clients   draw two key pairs; send the public keys                          with the study's reply
    clients   get all public keys; draw the seed b of a mask of their own; send each other, sealed, shares of b
              and of a private key                                                             `share`
    clients   get the shares for them; send adapter times samples plus the mask of b, plus or minus a mask that
              they have in common with each other client                                       `mask`
    clients   get the names of those whose masked adapters are there; give their shares of b of those, of the
              private key of the others                                                        `unmask`
    server    takes out the masks of b, and the common ones with clients whose adapters are not there; what is
              left is the sum

Common masks cancel in the sum. A client that falls silent after `share` leaves its masks in the others' numbers; its
private key, put together from shares, takes them out. Should its own adapter come late, the mask of its b is still on
it, and of b nobody gives a share, since each gives one of the two only. More than half of the clients have to answer
`unmask`, and two adapters have to be there. Where that is not so, or the masks do not cancel, the round has no average:
a notice says why, and the run goes on with the newest one that there is.

Keys, seeds and the nonces of seals come from the machine's randomness. The average is the same to the bit whatever they
are, since masks cancel exactly. What a client keeps between the phases is in its own checkpoint; it forgets its secrets
when it gives its shares.

The server cannot clip, hold or weigh what it does not see. So each client clips its own update, to `update_norm`, and
counts its own samples; one that lies about either spoils the average. One that sends a key that is none, or shares that
are not for all others, counts as missing. A wrong share shows in the end only, and takes the round's average away.
"""

from collections.abc import Mapping

from lada.codecs import masked, named
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.rounds.base import MessageSchema, Phase

KEYS, SHARES, MASKED, SURVIVORS, OPENED = named.KEYS, named.SHARES, masked.KIND, named.SURVIVORS, named.OPENED
LEAST = 3
"""Clients: of two each could take its own adapter out of the sum."""


def check_enough(clients: int) -> None:
    """Raise InputError where secure aggregation cannot serve so many clients."""
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
"""What comes between the clients' study and the average."""
