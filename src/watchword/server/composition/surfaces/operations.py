"""Wires what operators' tools read: health and metrics."""

from __future__ import annotations

from ...http.door import Shares
from ...http.front import Asgi
from ...http.operations import Operations
from ..services import Services


def mount_operations(services: Services, shares: Shares) -> dict[str, Asgi]:
    """Health and metrics, by the prefix of their paths."""
    operations = Operations(services.view, services.tokens.refusals, shares)
    return {"/health/": operations.health, "/metrics": operations.metrics}
