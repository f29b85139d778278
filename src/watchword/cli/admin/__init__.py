"""Verbs on the registry, over the admin API."""
