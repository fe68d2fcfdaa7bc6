"""Webhooks as clients meet them: their routes and what these take and answer."""
