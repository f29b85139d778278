"""OAuth's rules as pure functions: no clock, no network, no database."""
