"""Add initial access tokens (RFC 7591), and values that only one application of a tenant may have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: new tables only, so that nodes of the version before go on serving."""
    op.create_table(
        "initial_token",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("initial_token_by_sort", "initial_token", ["tenant_id", "deleted", "sort", "id"], unique=False)
    op.create_table(
        "claim",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "value"),
    )
    op.create_index("claim_by_holder", "claim", ["tenant_id", "holder"], unique=False)


def downgrade() -> None:
    """Back: nobody registers itself any more."""
    op.drop_index("claim_by_holder", table_name="claim")
    op.drop_table("claim")
    op.drop_index("initial_token_by_sort", table_name="initial_token")
    op.drop_table("initial_token")
