"""The HTTP API about orders and their history, declared once: the ledger answers, the gateway fronts it."""
