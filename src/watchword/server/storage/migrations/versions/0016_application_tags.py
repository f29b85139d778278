"""Add an index of applications by label."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None
_PIECE = 1_000


def upgrade() -> None:
    """Forward: a new table, filled from what there is. Nodes of the version before go on serving and know no tags:
    labels that they change are found again when they are changed next."""
    table = op.create_table(
        "application_tag",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "tag", "id"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    application = sa.table("application", *(sa.column(name) for name in ("tenant_id", "id", "deleted", "body")))
    query = sa.select(application.c.tenant_id, application.c.id, application.c.body).where(~application.c.deleted)
    after: tuple[str, str] | None = None
    while True:
        part = query.order_by(application.c.tenant_id, application.c.id).limit(_PIECE)
        if after is not None:
            part = part.where(sa.tuple_(application.c.tenant_id, application.c.id) > sa.tuple_(*map(sa.literal, after)))
        rows = connection.execute(part).fetchall()
        found = [
            {"tenant_id": tenant_id, "id": id_, "tag": tag} for tenant_id, id_, body in rows for tag in _tags(body)
        ]
        if found:
            connection.execute(sa.insert(table), found)
        if len(rows) < _PIECE:
            return
        after = (rows[-1][0], rows[-1][1])


def _tags(body: bytes) -> set[str]:
    record = json.loads(bytes(body))
    return {f"{name}\n{value}" for name, value in record.get("labels", {}).items()}


def downgrade() -> None:
    """Back: nothing is found by its label."""
    op.drop_table("application_tag")
