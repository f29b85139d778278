"""The admin API's operations on signing keys."""
