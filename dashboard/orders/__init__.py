"""Single orders: looked at, and moved on."""
