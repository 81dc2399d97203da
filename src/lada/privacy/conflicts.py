"""Refuses combinations of settings in which one would disclose what the other withholds."""

from collections.abc import Sequence

from lada.core.errors import InputError
from lada.models.base import Studies
from lada.models.private import check_installed


def check_losses(client: str, policy: str, objective: str, *, soft: bool) -> None:
    """Raise InputError for a policy that hides losses while `soft` targets are sent."""
    if soft:
        raise InputError(
            f"clients.{client}.{policy}: objective {objective!r} sends soft targets or judgements, which hold the "
            f"same losses exactly; expected an objective without these, or no {policy}"
        )


def check_scores(client: str, policy: str, objective: str, *, idle: bool) -> None:
    """Raise InputError for a policy that changes token scores but is `idle`, since none are sent."""
    if idle:
        raise InputError(
            f"clients.{client}.policies.{policy}: it changes soft targets, but objective {objective!r} asks for none; "
            f"expected an objective such as soft_targets, or no {policy}"
        )


def check_pooling(host: str, engine: str, held_back: Sequence[str]) -> None:
    """Raise InputError for a host that pools private samples, except in a local run that withholds nothing.

    `held_back` are the keys of the settings with which clients would withhold something.
    """
    if engine != "local":
        raise InputError(
            f"engine: {engine!r}, but host {host!r} sends the private samples of each client to all others, as a bound "
            "to compare with; expected engine: local, or a host that leaves them at the clients"
        )
    if held_back:
        raise InputError(
            f"{held_back[0]}: host {host!r} sends private samples as they are, so it would have no effect; expected "
            "none, or another host"
        )


def check_dp(client: str, studies: Studies, replayed: float | None) -> None:
    """Raise InputError if a client studies private data both with and without differential privacy.

    `replayed` is the share (0..1) of private samples that a study of others' knowledge replays. At 0, only the study
    named `private` uses private data. None: the host does not say, so every study may. Also raises InputError if the
    package is missing.
    """
    private, distil = studies.private.dp, studies.distil.dp
    if private is None and distil is None:
        return
    check_installed()
    replays = replayed is None or replayed > 0
    if private is None or (distil is None and replays):
        lacking = "private" if private is None else "distil"
        cure = ", or host.options.client_replay.private: 0.0" if replayed is not None and private else ""
        raise InputError(
            f"clients.{client}.{lacking}.dp: not set, but that study is on private data too, so that the other's "
            f"differential privacy would say nothing; expected dp in both{cure}"
        )
    if distil is not None and distil.delta != private.delta:
        raise InputError(
            f"clients.{client}.distil.dp.delta: {distil.delta}, but private.dp.delta is {private.delta}; expected the "
            "same, since what both spend is added up"
        )
