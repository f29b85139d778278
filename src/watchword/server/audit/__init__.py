"""The audit log: a closed list of events, and the hash chains that make changes to them visible."""
