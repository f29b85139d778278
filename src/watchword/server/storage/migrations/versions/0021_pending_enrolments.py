"""Add devices that wait for an administrator's approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "pending_enrolment",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "mark", name="pending_mark"),
        sa.UniqueConstraint("tenant_id", "ticket", name="pending_ticket"),
    )
    op.create_index("pending_enrolment_by_sort", "pending_enrolment", ["tenant_id", "deleted", "sort", "id"])
    op.create_index("pending_enrolment_by_group", "pending_enrolment", ["tenant_id", "group_id", "state", "expires_at"])
    op.create_index("pending_enrolment_by_state", "pending_enrolment", ["tenant_id", "state", "sort", "id"])


def downgrade() -> None:
    """Back: nobody waits any more; who was approved and did not come yet asks again."""
    op.drop_index("pending_enrolment_by_state", table_name="pending_enrolment")
    op.drop_index("pending_enrolment_by_group", table_name="pending_enrolment")
    op.drop_index("pending_enrolment_by_sort", table_name="pending_enrolment")
    op.drop_table("pending_enrolment")
