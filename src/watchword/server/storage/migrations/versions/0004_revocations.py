"""Add the revocation feed for APIs that verify tokens offline.

Applications that were disabled before this migration are not in it: within a day the last of their tokens
has expired.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "revocation",
        sa.Column("seq", _BIG, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("not_before_ms", _BIG, nullable=False),
        sa.Column("expires_at", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("tenant_id", "kind", "ref", "audience", name="revocation_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("revocation_by_seq", "revocation", ["tenant_id", "seq"], unique=False)
    op.create_index(op.f("ix_revocation_expires_at"), "revocation", ["expires_at"], unique=False)


def downgrade() -> None:
    """Back: APIs that follow the feed are refused it, and say 503 when they may no longer go without."""
    op.drop_index(op.f("ix_revocation_expires_at"), table_name="revocation")
    op.drop_index("revocation_by_seq", table_name="revocation")
    op.drop_table("revocation")
