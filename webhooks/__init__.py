"""Tells receivers over HTTP what happens to orders: signed, at least once, with a number for each."""
