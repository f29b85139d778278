"""Tags for selecting applications: each label as one text, and the enrolment group."""

from __future__ import annotations

from .model import Application


def label_tag(name: str, value: str) -> str:
    """A label. No name holds a line feed (`rules.check_name`), so no two labels have one tag."""
    return f"{name}\n{value}"


def group_tag(group_id: str) -> str:
    """An enrolment group. No label has an empty name, so no label has this tag."""
    return label_tag("", group_id)


def tags_of(application: Application) -> frozenset[str]:
    """All tags of an application."""
    labels = frozenset(label_tag(name, value) for name, value in application.labels.items())
    return labels if application.group_id is None else labels | {group_tag(application.group_id)}
