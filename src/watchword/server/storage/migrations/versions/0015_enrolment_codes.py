"""Add enrolment codes, stored as HMACs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: a new table only, so that nodes of the version before go on serving."""
    op.create_table(
        "enrolment_code",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest"),
    )
    op.create_index("enrolment_code_by_group", "enrolment_code", ["tenant_id", "group_id"], unique=False)
    op.create_index("ix_enrolment_code_expires_at", "enrolment_code", ["expires_at"], unique=False)


def downgrade() -> None:
    """Back: codes that were handed out let nobody in any more."""
    op.drop_index("ix_enrolment_code_expires_at", table_name="enrolment_code")
    op.drop_index("enrolment_code_by_group", table_name="enrolment_code")
    op.drop_table("enrolment_code")
