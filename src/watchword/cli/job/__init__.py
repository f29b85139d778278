"""Verbs of a program that needs a token: token, run, curl, enrol, inspect, profile."""
