"""A run's figures for Prometheus: numbers and the names of the run, parties and scopes. No sample text."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

from lada.core.errors import InputError
from lada.core.extras import require
from lada.watching.watch import PartySnapshot, Snapshot, State

if TYPE_CHECKING:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

Number = Callable[[PartySnapshot], float | None]
Samples = Mapping[tuple[str, ...], float | None]
"""Values by their labels, besides the run's name; None for a value that is not known yet."""
GAUGES: dict[str, tuple[str, Number]] = {
    "lada_party_round": ("The round that the party last worked in.", lambda party: party.round),
    "lada_party_last_seen_timestamp_seconds": (
        "When the party last reported progress or replied, Unix time.",
        lambda party: party.last_seen,
    ),
}
COUNTERS: dict[str, tuple[str, Number]] = {
    "lada_party_sent_bytes": ("Bytes of messages that the party sent.", lambda party: party.sent),
    "lada_party_received_bytes": ("Bytes of messages that were sent to the party.", lambda party: party.received),
    "lada_party_missing": ("Phases that continued without the party.", lambda party: party.missed),
    "lada_party_tokens": ("Tokens that the party worked on.", lambda party: party.tokens),
}


class Figures:
    """A collector of prometheus-client, which reads the run's state on each scrape."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look

    def collect(self) -> "Iterator[Metric]":
        """Yield the metrics of the run's current state. A number that is not known yet has no sample."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._look()
        parties = now.parties
        states = {(state,): float(state == now.state) for state in get_args(State)}
        rounds: Samples = {(): now.round}
        accuracy: Samples = {(p.name, scope): value / 100 for p in parties for scope, value in p.accuracy.items()}
        losses: Samples = {(p.name, study.phase): study.last for p in parties for study in p.losses}
        gauges: list[tuple[str, str, tuple[str, ...], Samples]] = [
            ("lada_run_state", "1 for the current state of the run.", ("state",), states),
            ("lada_run_round", "The current round; round 0 only evaluates.", (), rounds),
            ("lada_run_rounds", "The number of rounds of the run.", (), {(): now.rounds}),
            ("lada_run_elapsed_seconds", "Seconds since the run began.", (), {(): now.elapsed}),
            ("lada_party_accuracy_ratio", "Accuracy when last evaluated, 0 to 1.", ("party", "scope"), accuracy),
            ("lada_party_loss", "Loss at the end of the last study of a phase.", ("party", "phase"), losses),
        ]
        for name, text, labels, samples in gauges:
            yield _filled(GaugeMetricFamily(name, text, labels=["run", *labels]), now.run, samples)
        for family, of in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, (text, number) in of.items():
                samples = {(party.name,): number(party) for party in parties}
                yield _filled(family(name, text, labels=["run", "party"]), now.run, samples)


def _filled(metric: "GaugeMetricFamily | CounterMetricFamily", run: str, samples: Samples) -> "Metric":
    for labels, value in samples.items():
        if value is not None:
            metric.add_metric([run, *labels], value)
    return metric


@contextmanager
def served(look: Callable[[], Snapshot], host: str, port: int) -> Iterator[int]:
    """Serve the metrics over HTTP at `host` while the block runs; yield the port, a free one if 0 was given.

    `look` is called in other threads, one at a time. Raises InputError if the package is missing or the address cannot
    be used.
    """
    import threading

    prometheus = require("prometheus-client", "--metrics", "metrics")
    lock = threading.Lock()

    def one_at_a_time() -> Snapshot:
        with lock:
            return look()

    registry = prometheus.CollectorRegistry()
    registry.register(Figures(one_at_a_time))
    try:
        server, thread = prometheus.start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(
            f"--metrics: cannot listen at {host!r}, port {port} ({error}); give another port or --host, or end what "
            "listens there"
        ) from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
