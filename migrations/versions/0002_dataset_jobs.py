"""Jobs that build datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What a build will make is not known before it is made.
    op.alter_column("jobs", "dataset_fingerprint", nullable=True)
    op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", "kind IN ('train', 'dataset')")
    op.create_check_constraint(
        op.f("ck_jobs_trains_on_known_dataset"),
        "jobs",
        "kind <> 'train' OR dataset_fingerprint IS NOT NULL",
    )
    op.create_index("ix_jobs_dataset_created_at", "jobs", ["dataset", "created_at"], unique=False)
    op.create_index(
        "uq_jobs_build",
        "jobs",
        ["dataset"],
        unique=True,
        postgresql_where=sa.text("kind = 'dataset' AND state IN ('queued', 'running', 'paused')"),
    )


def downgrade() -> None:
    op.drop_index("uq_jobs_build", table_name="jobs")
    op.drop_index("ix_jobs_dataset_created_at", table_name="jobs")
    op.drop_constraint(op.f("ck_jobs_trains_on_known_dataset"), "jobs")
    op.drop_constraint(op.f("ck_jobs_kind"), "jobs")
    # A program of that schema takes every job for a training job: builds have no place in it.
    for table in ("metric_points", "events", "checkpoints", "attempts"):
        op.execute(f"DELETE FROM {table} USING jobs WHERE job_id = jobs.id AND kind = 'dataset'")
    op.execute("UPDATE jobs SET parent_id = NULL WHERE parent_id IN "
               "(SELECT id FROM jobs WHERE kind = 'dataset')")
    op.execute("DELETE FROM jobs WHERE kind = 'dataset'")
    op.alter_column("jobs", "dataset_fingerprint", nullable=False)
