"""Ways to the customer."""
