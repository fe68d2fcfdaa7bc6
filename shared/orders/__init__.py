"""What an order is: its statuses and moves, its record, what is decided about it, and where it is kept."""
