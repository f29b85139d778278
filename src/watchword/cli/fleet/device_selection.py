"""Which devices a command is about: labels and an enrolment group, as the command line names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import say
from ..api_client import AdminClient


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, each. Exits with 2."""
    found: dict[str, str] = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals or not name:
            say.misuse(f"--label {label}", "write NAME=VALUE")
        found[name] = value
    return found


def selected(
    client: AdminClient, labels: Sequence[str], group: str | None, size: int
) -> Iterator[list[dict[str, Any]]]:
    """Pages of those that have all of these labels and are in the group; without a group, of devices only.

    The server finds them by the first label and by the group; the other labels are looked at here.
    """
    wanted = labels_of(labels)
    query: dict[str, Any] = {"limit": size}
    if labels:
        query["label"] = labels[0]
    if group is not None:
        query["group"] = group
    for page in client.pages("/devices", query):
        yield [
            one
            for one in page
            if wanted.items() <= one["labels"].items() and (group is not None or one["kind"] == "device")
        ]
