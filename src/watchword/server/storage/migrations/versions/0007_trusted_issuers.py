"""Add trusted issuers, with whose tokens applications can authenticate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "trusted_issuer",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "sort", name="trusted_issuer_name"),
    )
    op.create_index("trusted_issuer_by_sort", "trusted_issuer", ["tenant_id", "deleted", "sort", "id"], unique=False)


def downgrade() -> None:
    """Back: applications that were proved by statements are not any more."""
    op.drop_index("trusted_issuer_by_sort", table_name="trusted_issuer")
    op.drop_table("trusted_issuer")
