"""Tells the customer what became of an order: normally exactly once per event, never not at all."""
