"""Decides each order once: reserves all of its stock or none, and publishes what happened."""
