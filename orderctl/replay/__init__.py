"""Telling one consumer again what happened to orders, from the log of steps, the records and the ledger."""
