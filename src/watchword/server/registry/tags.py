"""What applications are selected by: their labels, each as one text."""

from __future__ import annotations

from .model import Application


def label_tag(name: str, value: str) -> str:
    """A label. No name holds a line feed (`rules.check_name`), so no two labels have one tag."""
    return f"{name}\n{value}"


def tags_of(application: Application) -> frozenset[str]:
    """All that it can be found by."""
    return frozenset(label_tag(name, value) for name, value in application.labels.items())
