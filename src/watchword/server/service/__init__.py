"""What the system does: one module per verb."""
