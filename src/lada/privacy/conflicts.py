"""Refuse what would let out by one way what is held back on another."""

from collections.abc import Mapping, Sequence
from typing import Any

from lada.core.errors import InputError
from lada.models.base import Studies
from lada.models.private import check_installed
from lada.privacy.options import Blur


def check_blur(client: str, blur: Blur | None, objective: str, *, soft: bool) -> None:
    """Raise InputError for a blur beside soft targets."""
    if blur and soft:
        raise InputError(
            f"clients.{client}.blur: objective {objective!r} sends soft targets, which hold the same losses exactly; "
            "expected an objective without soft targets, or no blur"
        )


def check_pooling(host: str, engine: str, held_back: Sequence[str]) -> None:
    """Raise InputError for a host that pools private samples, but for a run on one machine that holds nothing back.

    `held_back` are the keys of what clients would hold back of what they send.
    """
    if engine != "local":
        raise InputError(
            f"engine: {engine!r}, but host {host!r} sends the private samples of each client to all others, as a bound "
            "to compare with; expected engine: local, or a host that keeps them where they are"
        )
    if held_back:
        raise InputError(
            f"{held_back[0]}: host {host!r} sends private samples as they are, so that nothing is held back; expected "
            "none, or another host"
        )


def check_dp(client: str, studies: Studies, options: Mapping[str, Any]) -> None:
    """Raise InputError for a client that studies private data with and without differential privacy.

    `options` are the host's: with a `client_replay` whose share of private samples is 0, only the study named
    `private` is on private data; otherwise every study may be. Raises InputError too where the package is missing.
    """
    private, distil = studies.private.dp, studies.distil.dp
    if private is None and distil is None:
        return
    check_installed()
    replays = options.get("client_replay", {}).get("private", 1.0) > 0
    if private is None or (distil is None and replays):
        lacking = "private" if private is None else "distil"
        cure = ", or host.options.client_replay.private: 0.0" if "client_replay" in options and private else ""
        raise InputError(
            f"clients.{client}.{lacking}.dp: not set, but that study is on private data too, so that the other's "
            f"differential privacy would say nothing; expected dp in both{cure}"
        )
    if distil is not None and distil.delta != private.delta:
        raise InputError(
            f"clients.{client}.distil.dp.delta: {distil.delta}, but private.dp.delta is {private.delta}; expected the "
            "same, since what both spend is added up"
        )
