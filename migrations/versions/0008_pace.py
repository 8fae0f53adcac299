"""An index for the newest runs that succeeded at once, which tell how long jobs take."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_attempts_pace",
        "attempts",
        ["ended_at"],
        postgresql_where=sa.text("outcome = 'succeeded' AND number = 1"),
    )


def downgrade() -> None:
    op.drop_index("ix_attempts_pace", table_name="attempts")
