"""A longer seeded schedule of faults under load, with a report: ``make chaos``."""
