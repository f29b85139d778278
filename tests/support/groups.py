"""A hook that `tests/conftest.py` takes over."""

import pytest
from _pytest.nodeid import NodeId


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest 9.2 reads an item's id elsewhere than pytest-xdist 3.8 writes its group: without this no group holds, and
    each worker starts every server."""
    for item in items:
        grouped = vars(item).get("_nodeid")
        if isinstance(grouped, str):
            item._id = NodeId.parse(grouped)
