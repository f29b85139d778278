"""`watchword demo`: the airline, end to end."""
