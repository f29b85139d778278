"""Watchword: an identity for applications."""
