"""Add the marks and answers of requests with an Idempotency-Key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving; they ignore the header."""
    op.create_table(
        "idempotency_key",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "actor", "key"),
    )
    op.create_index("ix_idempotency_key_at", "idempotency_key", ["at"])


def downgrade() -> None:
    """Back: requests that are repeated are carried out again."""
    op.drop_index("ix_idempotency_key_at", table_name="idempotency_key")
    op.drop_table("idempotency_key")
