"""Pause, retry, and places in the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("job_places")))
    op.add_column("jobs", sa.Column("pause_requested_at", sa.DateTime(timezone=True)))
    for name in ("releases", "retries", "forgotten_attempt"):
        op.add_column(
            "jobs", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )
    op.add_column("jobs", sa.Column("place", sa.Numeric()))
    # What waits keeps its order.
    op.execute(
        "UPDATE jobs SET place = ordered.number FROM (SELECT id, "
        "row_number() OVER (ORDER BY queued_at, id) AS number FROM jobs) AS ordered "
        "WHERE ordered.id = jobs.id"
    )
    op.execute("SELECT setval('job_places', (SELECT count(*) + 1 FROM jobs), false)")
    op.alter_column(
        "jobs", "place", server_default=sa.text("nextval('job_places')"), nullable=False
    )
    op.create_check_constraint(
        op.f("ck_jobs_running_is_paused"),
        "jobs",
        "state = 'running' OR pause_requested_at IS NULL",
    )
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        [sa.literal_column("priority DESC"), "place", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        [sa.literal_column("priority DESC"), "queued_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.drop_constraint(op.f("ck_jobs_running_is_paused"), "jobs")
    for name in ("place", "forgotten_attempt", "retries", "releases", "pause_requested_at"):
        op.drop_column("jobs", name)
    op.execute(sa.schema.DropSequence(sa.Sequence("job_places")))
