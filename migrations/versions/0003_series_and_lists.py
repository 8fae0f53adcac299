"""Long series in blocks of 128 steps, and an index for each order of the list of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metric_blocks",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("low_step", sa.BigInteger(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("high_step", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_metric_blocks_job_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "name", "block", name=op.f("pk_metric_blocks")),
        postgresql_with={"fillfactor": 80},
    )
    op.execute(
        """
        INSERT INTO metric_blocks
        SELECT job_id, name, step / 128, count(*), min(step), max(step),
               min(value), (array_agg(step ORDER BY value, step) FILTER (WHERE value IS NOT NULL))[1],
               max(value),
               (array_agg(step ORDER BY value DESC, step) FILTER (WHERE value IS NOT NULL))[1]
        FROM metric_points
        WHERE step >= 128
        GROUP BY job_id, name, step / 128
        """
    )


    op.create_index("ix_jobs_priority_id", "jobs", ["priority", "id"])
    op.create_index("ix_jobs_name_id", "jobs", ["name", "id"])
    op.create_index("ix_jobs_state_created_at_id", "jobs", ["state", "created_at", "id"])
    op.drop_index("ix_jobs_state_created_at", table_name="jobs")
    # For rows written from now on; `VACUUM FULL jobs` would do it for the others.
    op.execute("ALTER TABLE jobs SET (toast_tuple_target = 512)")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs RESET (toast_tuple_target)")
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"])
    op.drop_index("ix_jobs_state_created_at_id", table_name="jobs")
    op.drop_index("ix_jobs_name_id", table_name="jobs")
    op.drop_index("ix_jobs_priority_id", table_name="jobs")
    op.drop_table("metric_blocks")
