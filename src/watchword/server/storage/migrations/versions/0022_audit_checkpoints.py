"""Add the chain of audit checkpoints, and a MAC to each row of the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0019"
branch_labels = None
depends_on = None
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward: a new table and a column that may be null, so that nodes of the version before go on serving."""
    op.create_table(
        "audit_checkpoint",
        sa.Column("number", _BIG, autoincrement=False, nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.add_column("audit", sa.Column("mac", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Back: rows written meanwhile lose their MACs, and checkpoints of the version before begin again."""
    op.drop_column("audit", "mac")
    op.drop_table("audit_checkpoint")
