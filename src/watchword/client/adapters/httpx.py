"""Make `ClientCredentials` an ``httpx.Auth`` and an ``httpx2.Auth`` without importing either library.

Both libraries ask ``isinstance(auth, Auth)`` and both classes are plain ones. ``isinstance`` also looks at
``__class__``, so that attribute names a class with the bases of whichever of the two is imported: no
program pays for a library that it does not use, and the order of imports does not matter (decision 0025).
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

_LIBRARIES = ("httpx", "httpx2")


def class_shown(kind: type[Any]) -> type[Any]:
    """``kind``, with the Auth classes of the imported libraries as further bases."""
    found = (getattr(sys.modules.get(name), "Auth", None) for name in _LIBRARIES)
    bases = tuple(auth for auth in found if auth is not None)
    return _with_bases((kind, *bases)) if bases else kind


@cache
def _with_bases(bases: tuple[type[Any], ...]) -> type[Any]:
    kind = bases[0]
    return type(kind.__name__, bases, {"__doc__": kind.__doc__, "__module__": kind.__module__})


def repeatable(request: Any) -> bool:
    """Whether the body can be sent twice: bytes can, a generator cannot."""
    try:
        _ = request.content
    except RuntimeError:  # RequestNotRead
        return False
    return True
