"""The state of the whole pipeline, as JSON, metrics and a page."""
