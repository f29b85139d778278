"""Verbs that configure mail servers and message brokers, and the services that these ask."""
