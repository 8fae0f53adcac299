"""Workers with several GPUs, jobs with several slots."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workers",
        sa.Column(
            "gpus", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.add_column(
        "attempts",
        sa.Column(
            "slots",
            postgresql.ARRAY(sa.BigInteger()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
    )
    op.execute("UPDATE attempts SET slots = ARRAY[slot]")
    op.add_column("jobs", sa.Column("gathered_by", sa.Text()))
    op.add_column("jobs", sa.Column("gathered_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("jobs", "gathered_until")
    op.drop_column("jobs", "gathered_by")
    op.drop_column("attempts", "slots")
    op.drop_column("workers", "gpus")
