"""Add the tenants' own CAs for device certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "device_authority",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("device_authority_by_sort", "device_authority", ["tenant_id", "deleted", "sort", "id"])


def downgrade() -> None:
    """Back: no certificate of a device counts any more."""
    op.drop_index("device_authority_by_sort", table_name="device_authority")
    op.drop_table("device_authority")
