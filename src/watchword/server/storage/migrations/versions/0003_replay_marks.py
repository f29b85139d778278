"""Add replay marks of used client assertions and DPoP proofs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "replay_mark",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key"),
    )
    op.create_index(op.f("ix_replay_mark_expires_at"), "replay_mark", ["expires_at"], unique=False)


def downgrade() -> None:
    """Back."""
    op.drop_index(op.f("ix_replay_mark_expires_at"), table_name="replay_mark")
    op.drop_table("replay_mark")
