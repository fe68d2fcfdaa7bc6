"""The HTTP API about customers, declared once: accounts answers it, and the gateway fronts it."""
