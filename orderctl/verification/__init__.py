"""Reconciling a live system: evidence in one consistent cut, read in pages, judged by the oracle."""
