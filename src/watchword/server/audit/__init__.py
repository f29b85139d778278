"""What happened: a closed list of events, chained by hash."""
