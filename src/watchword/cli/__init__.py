"""How operators and jobs reach us: the `watchword` command."""
