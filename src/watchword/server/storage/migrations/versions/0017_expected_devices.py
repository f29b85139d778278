"""Add the lists of expected devices, by serial number and by key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "expected_device",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "entry"),
        sa.UniqueConstraint("tenant_id", "serial", name="expected_serial"),
        sa.UniqueConstraint("tenant_id", "key", name="expected_key"),
    )
    op.create_index("expected_device_by_group", "expected_device", ["tenant_id", "group_id", "entry"], unique=False)


def downgrade() -> None:
    """Back: nobody is expected any more."""
    op.drop_index("expected_device_by_group", table_name="expected_device")
    op.drop_table("expected_device")
