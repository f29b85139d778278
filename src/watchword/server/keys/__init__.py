"""Signing keys: their states, and the rule for rotating them."""
