"""Wires the wing `registry`. Most of its verbs are functions that take the desk: only these are objects."""

from __future__ import annotations

from msgspec import Struct

from ..service.registry.create_tenant import CreateTenant
from .foundation import Foundation
from .keys import Keys


class Registry(Struct, frozen=True, kw_only=True):
    """The verbs of the registry that hold more than the desk."""

    create_tenant: CreateTenant


def wire_registry(base: Foundation, keys: Keys) -> Registry:
    """The wing over this database."""
    create_tenant = CreateTenant(
        store=base.storage.store,
        keys=keys.rotate,
        policy=keys.policy,
        pepper=base.pepper,
        clock=base.world.clock,
        random_bytes=base.world.random_bytes,
    )
    return Registry(create_tenant=create_tenant)
