"""Add the indexes of revoked tokens in status lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "status_entry",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("list_name", sa.Text(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("expires_at", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "list_name", "idx"),
    )
    op.create_index(op.f("ix_status_entry_expires_at"), "status_entry", ["expires_at"], unique=False)


def downgrade() -> None:
    """Back: lists are no longer served, and APIs that insist on them say 503."""
    op.drop_index(op.f("ix_status_entry_expires_at"), table_name="status_entry")
    op.drop_table("status_entry")
