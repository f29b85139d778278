"""Housekeeping, pruning, export and import of an instance."""
