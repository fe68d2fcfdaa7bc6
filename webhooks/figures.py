"""What webhooks shows of its deliveries."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.webhooks.schemas import DeliveryStatus


class WebhookFigures:
    """Kept by the sender, and by what looks now and then."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "webhooks_attempts",
            "Attempts at deliveries, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self.pending = Gauge("webhooks_pending", "Deliveries that are to be attempted", registry=registry)
        self.late = Gauge(
            "webhooks_late_seconds",
            "Age of the first due delivery to a receiver that does not fail",
            registry=registry,
        )
        for status in DeliveryStatus:
            self.attempts.labels(status)
