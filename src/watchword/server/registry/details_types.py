"""Check the JSON schemas of an API's `authorization_details` types (RFC 9396), and check objects against them.

The validator is `jsonschema-rs`: its regular expressions take linear time, and it fetches no schemas (decision 0036).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from .errors import Invalid
from .model import DetailsType

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

MAX_TYPES: Final = 50
MAX_SCHEMA: Final = 16_384
"""Characters of one schema."""
_NAME = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,200}")


class DoesNotFit(Exception):
    """An object does not match its type's schema; the text names the member and quotes no value."""


def check_types(types: Sequence[DetailsType]) -> None:
    """Raises `Invalid`."""
    if len(types) > MAX_TYPES or len({one.name for one in types}) != len(types):
        raise Invalid(f"use at most {MAX_TYPES} types, each name once", field="details_types")
    for one in types:
        if not _NAME.fullmatch(one.name):
            raise Invalid("a type's name has 1 to 200 visible characters without quotes", field="details_types")
        text = json.dumps(one.schema)
        if len(text) > MAX_SCHEMA or one.schema.get("type") != "object" or not _properties(one):
            raise Invalid(
                f"the schema of {one.name} has type object, properties, and {MAX_SCHEMA} characters at most",
                field="details_types",
            )
        if _refers_outward(one.schema):
            raise Invalid(f"the schema of {one.name} refers to itself only ($ref begins with #)", field="details_types")
        try:
            _validator(text)
        except Exception as error:
            raise Invalid(f"{one.name} is no JSON schema: {str(error)[:200]}", field="details_types") from None


def check_object(kind: DetailsType, unverified: dict[str, Any]) -> None:
    """Raises `DoesNotFit`, also for each member that the schema does not name (section 5)."""
    if unknown := sorted(unverified.keys() - _properties(kind) - {"type"}):
        raise DoesNotFit(f"{unknown[0][:60]} is not a member of it")
    found = next(_validator(json.dumps(kind.schema)).iter_errors(unverified), None)
    if found is not None:
        place = "/".join(str(part) for part in found.instance_path)[:100]
        raise DoesNotFit(f"{place or 'the object'} breaks its schema ({found.kind.name})")


def _properties(kind: DetailsType) -> set[str]:
    found = kind.schema.get("properties")
    return set(found) if isinstance(found, dict) else set()


def _refers_outward(schema: Any) -> bool:
    if isinstance(schema, dict):
        for name in ("$ref", "$dynamicRef", "$recursiveRef"):
            if name in schema and not str(schema[name]).startswith("#"):
                return True
        return "$id" in schema or "$schema" in schema or any(_refers_outward(value) for value in schema.values())
    return isinstance(schema, list) and any(_refers_outward(value) for value in schema)


@lru_cache(256)
def _validator(schema: str) -> Draft202012Validator:
    """The compiled schema. The library is imported here, because only tenants with such types need it."""
    from jsonschema_rs import Draft202012Validator, RegexOptions

    def refuse(uri: str) -> Any:
        raise ValueError(f"nothing is fetched: {uri}")

    return Draft202012Validator(json.loads(schema), retriever=refuse, pattern_options=RegexOptions())
