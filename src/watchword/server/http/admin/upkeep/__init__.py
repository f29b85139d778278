"""The admin API's operations on the audit log."""
