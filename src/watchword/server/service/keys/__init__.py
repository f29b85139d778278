"""Rotation of signing keys."""
