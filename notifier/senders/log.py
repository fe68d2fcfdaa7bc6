"""The sender for machines without mail: the notification is a line in the log that people can read."""

from notifier.domain import Notification
from shared.errors import SenderUnavailable
from shared.logs import flush_logs, get_logger

log = get_logger(__name__)


class LogSender:
    """Writes each notification to the log."""

    def channel_for(self, notification: Notification) -> str:
        return "log"

    async def send(self, notification: Notification) -> None:
        log.info(
            "notification",
            order_id=notification.order_id,
            notification_id=notification.id,
            recipient=notification.recipient,
            subject=notification.subject,
            text=notification.text,
        )

    async def flush(self) -> None:
        try:
            flush_logs()
        except OSError as error:
            raise SenderUnavailable(str(error)) from error
