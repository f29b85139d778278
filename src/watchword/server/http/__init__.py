"""How machines reach us: bytes in and bytes out."""
