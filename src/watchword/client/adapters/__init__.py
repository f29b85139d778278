"""Adapters, one for each HTTP library. An adapter, and with it its library, is imported only when it is used."""
