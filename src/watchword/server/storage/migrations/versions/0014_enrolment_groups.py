"""Add enrolment groups, and the number of applications in each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: new tables only, so that nodes of the version before go on serving."""
    op.create_table(
        "enrolment_group",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sa.UniqueConstraint("tenant_id", "sort", name="enrolment_group_name"),
    )
    op.create_index("enrolment_group_by_sort", "enrolment_group", ["tenant_id", "deleted", "sort", "id"], unique=False)
    op.create_table(
        "place",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "group_id"),
    )


def downgrade() -> None:
    """Back: devices stay, and nobody enrols."""
    op.drop_table("place")
    op.drop_index("enrolment_group_by_sort", table_name="enrolment_group")
    op.drop_table("enrolment_group")
