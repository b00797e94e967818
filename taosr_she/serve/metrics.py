"""Measurements for Prometheus. Every label has a fixed, small set of values."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
OUTCOMES = ("judged", "malformed", "expired", "dropped", "stopped", "failed")
"""What becomes of a candidate. `malformed`: the model or its input gave no label. `expired`: its deadline was over
before it was started. `dropped`: its client left. `stopped`: the service stopped. `failed`: judging raised an error."""


class Metrics:
    """All measurements of a service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ours: dict[str, Any] = {"namespace": "taosr_she", "registry": self.registry}
        self.requests = Counter("requests", "Answered requests", ("route", "code"), **ours)
        self.candidates = Counter("candidates", "Candidates by outcome", ("outcome",), **ours)
        for outcome in OUTCOMES:
            self.candidates.labels(outcome)
        self.batch = Histogram("batch_candidates", "Candidates in a batch", buckets=SIZES, **ours)
        self.queue = Gauge("queue_candidates", "Candidates that wait", **ours)
        self.waiting = Histogram("waiting_seconds", "Time of a candidate until its batch", buckets=SECONDS, **ours)
        self.model = Histogram("model_seconds", "Time of a batch in the model", buckets=SECONDS, **ours)
        self.latency = Histogram("request_seconds", "Time of a request", ("route",), buckets=SECONDS, **ours)
        self.reloads = Counter("reloads", "Reloads of the model", ("outcome",), **ours)
        for outcome in ("done", "refused"):
            self.reloads.labels(outcome)
        self.loaded = Gauge("model_loaded_timestamp_seconds", "When the model in use was loaded", **ours)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
