"""A thousand readers of events, some of them slow, while gateways die."""
