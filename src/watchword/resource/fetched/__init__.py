"""Fetch metadata, keys, status lists and introspection answers from the issuer."""
