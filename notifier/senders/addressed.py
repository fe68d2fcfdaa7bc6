"""The choice between two ways to the customer, by whether an address is known."""

from notifier.domain import Notification
from notifier.ports import HandedOver, Sender


class AddressedSender:
    """Mails customers who left an address; what concerns the others goes to the second sender."""

    def __init__(self, mail: Sender, otherwise: Sender) -> None:
        self._mail = mail
        self._otherwise = otherwise

    def channel_for(self, notification: Notification) -> str:
        return self._way(notification).channel_for(notification)

    async def send(self, notification: Notification) -> HandedOver | None:
        return await self._way(notification).send(notification)

    async def flush(self) -> None:
        await self._mail.flush()
        await self._otherwise.flush()

    def _way(self, notification: Notification) -> Sender:
        return self._mail if notification.recipient else self._otherwise
