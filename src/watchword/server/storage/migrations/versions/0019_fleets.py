"""Index applications by enrolment group, and store the last use of secrets in order of its key."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
_PIECE = 1_000


def upgrade() -> None:
    """Forward: more tags, and on SQLite a table without its hidden second tree. Nodes of the version before go on
    serving and know no tags of groups: who joins or leaves one there is found rightly when it is changed next."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _rebuild(sqlite_with_rowid=False)
    application = sa.table("application", *(sa.column(name) for name in ("tenant_id", "id", "deleted", "body")))
    tag = sa.table("application_tag", *(sa.column(name) for name in ("tenant_id", "tag", "id")))
    query = sa.select(application.c.tenant_id, application.c.id, application.c.body).where(~application.c.deleted)
    after: tuple[str, str] | None = None
    while True:
        part = query.order_by(application.c.tenant_id, application.c.id).limit(_PIECE)
        if after is not None:
            part = part.where(sa.tuple_(application.c.tenant_id, application.c.id) > sa.tuple_(*map(sa.literal, after)))
        rows = connection.execute(part).fetchall()
        groups = [(tenant_id, id_, json.loads(bytes(body)).get("group_id")) for tenant_id, id_, body in rows]
        found = [{"tenant_id": tenant_id, "id": id_, "tag": f"\n{group}"} for tenant_id, id_, group in groups if group]
        if found:
            connection.execute(sa.insert(tag), found)
        if len(rows) < _PIECE:
            return
        after = (rows[-1][0], rows[-1][1])


def _rebuild(*, sqlite_with_rowid: bool) -> None:
    op.rename_table("secret_use", "secret_use_before")
    op.create_table(
        "secret_use",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("last_used_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "secret_id"),
        sqlite_with_rowid=sqlite_with_rowid,
    )
    columns = "tenant_id, secret_id, last_used_at"
    op.execute(f"INSERT INTO secret_use ({columns}) SELECT {columns} FROM secret_use_before")
    op.drop_table("secret_use_before")


def downgrade() -> None:
    """Back: nothing is found by its group."""
    op.execute("DELETE FROM application_tag WHERE substr(tag, 1, 1) = chr(10)" if _postgres() else _FORGET)
    if not _postgres():
        _rebuild(sqlite_with_rowid=True)


_FORGET = "DELETE FROM application_tag WHERE substr(tag, 1, 1) = char(10)"


def _postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"
