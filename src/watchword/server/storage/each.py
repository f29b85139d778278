"""Look up many values in one statement, each by an index.

`value IN (...)` leaves it to the engine whether it asks its index for each value or reads everything there is and
compares. PostgreSQL, as long as it has no statistics of a table, takes the second, and a hundred thousand rows are
looked up in quadratic time. A lateral subquery with a limit has one plan.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY


def for_each(
    dialect: str, values: Sequence[str], key: sa.ColumnElement[Any], query: sa.Select[Any], *, locks: bool = False
) -> sa.Select[Any]:
    """The rows of `query` whose `key`, which is unique among them, is one of these values.

    `locks` them, one by one in the order of `values`.
    """
    if dialect != "postgresql":
        wanted = sa.func.json_each(json.dumps(list(values))).table_valued("value")
        return query.where(key.in_(sa.select(wanted.c.value)))
    wanted = sa.func.unnest(sa.cast(list(values), ARRAY(sa.Text))).table_valued("value").render_derived(name="wanted")
    one = query.where(key == wanted.c.value).limit(1)
    found = (one.with_for_update() if locks else one).lateral("found")
    return sa.select(*found.c).select_from(wanted.join(found, sa.true()))
