"""Wires what answers requests over HTTP and CoAP: one module a surface, each over the wings of the services."""
