"""Wires the wing `keys`: the rotation of signing keys."""

from __future__ import annotations

from msgspec import Struct

from ..config import Settings
from ..keys.rotation import Policy
from ..service.keys.key_schedule import KeySchedule
from ..service.keys.rotate_key import RotateKey
from .foundation import Foundation


class Keys(Struct, frozen=True, kw_only=True):
    """The verbs around signing keys, and the policy that they follow."""

    policy: Policy
    rotate: RotateKey
    schedule: KeySchedule


def policy_of(settings: Settings) -> Policy:
    """The rotation policy of these settings."""
    return Policy(period=settings.key_rotation_period, publish_ahead=settings.key_publish_ahead)


def wire_keys(base: Foundation) -> Keys:
    """The wing over this database."""
    policy, clock = policy_of(base.settings), base.world.clock
    rotate = RotateKey(base.storage.store, base.master, policy, clock)
    return Keys(policy=policy, rotate=rotate, schedule=KeySchedule(rotate, policy, clock))
