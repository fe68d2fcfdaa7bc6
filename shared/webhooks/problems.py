"""The kinds of problems that webhooks alone know."""

from typing import Final

from shared.http.problems import ProblemType

TOO_MANY_WEBHOOKS: Final = ProblemType(name="too-many-webhooks", status=409, title="Too many webhooks")
WEBHOOK_DISABLED: Final = ProblemType(name="webhook-disabled", status=409, title="The webhook is disabled")
