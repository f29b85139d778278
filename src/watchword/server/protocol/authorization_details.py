"""Rich authorization requests (RFC 9396): read `authorization_details` and check each object by its type's schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..registry.details_types import DoesNotFit, check_object
from ..registry.model import Api, DetailsType
from .bounded_json import check_values, read_text
from .errors import InvalidAuthorizationDetails

MAX_TEXT: Final = 16_384
MAX_OBJECTS: Final = 50
MAX_DEPTH: Final = 16
_NAME: Final = "authorization_details"

Details = tuple[dict[str, Any], ...]


def read_details(unverified_text: str) -> Details:
    """Read the parameter: strict JSON, bounded, an array of objects with a type.

    Numbers that some JSON readers round are rejected: every reader must see the same value.
    Raises `InvalidAuthorizationDetails`.
    """
    listed = read_text(unverified_text, _NAME, MAX_TEXT, InvalidAuthorizationDetails)
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_OBJECTS:
        raise InvalidAuthorizationDetails(f"authorization_details is an array of 1 to {MAX_OBJECTS} objects")
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            raise InvalidAuthorizationDetails("each of authorization_details is an object with a type")
        check_values(one, _NAME, MAX_DEPTH, InvalidAuthorizationDetails)
    return tuple(listed)


def granted_details(asked: Details, allowed: Iterable[str], targets: Iterable[Api]) -> Details:
    """All of them, or `InvalidAuthorizationDetails`, the same for unknown and not allowed types.

    Each API of a token reads the objects of the types that it knows: an object fits the schema of every one of them.
    """
    known = [kind for api in targets for kind in api.details_types]
    for one in asked:
        kinds = [kind for kind in known if kind.name == one["type"]]
        if not kinds or one["type"] not in allowed:
            raise InvalidAuthorizationDetails(
                f"the type {one['type'][:100]} is unknown at this API or not allowed to this application"
            )
        for kind in kinds:
            _check_fits(kind, one)
    return asked


def _check_fits(kind: DetailsType, one: dict[str, Any]) -> None:
    try:
        check_object(kind, one)
    except DoesNotFit as error:
        raise InvalidAuthorizationDetails(f"an object of type {kind.name}: {error}") from None
