"""Sweeps, their trials, and the schema of Optuna's studies."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Optuna makes and migrates its own tables there.
    op.execute("CREATE SCHEMA optuna")
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "running",
                "paused",
                "succeeded",
                "failed",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("dataset_fingerprint", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("spec", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("base", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("config", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("optuna_version", sa.Text(), nullable=False),
        sa.Column("n_trials", sa.BigInteger(), nullable=False),
        sa.Column("max_parallel", sa.BigInteger(), nullable=False),
        sa.Column("created_trials", sa.BigInteger(), nullable=False),
        sa.Column("is_prepared", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("analysis", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("analysed_trials", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("api_key_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_sweeps_api_key_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_index(
        "ix_sweeps_live",
        "sweeps",
        ["id"],
        postgresql_where=sa.text("state IN ('running', 'paused')"),
    )
    op.create_index("ix_sweeps_created_at_id", "sweeps", ["created_at", "id"])
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("params", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("values", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("seed_values", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("violations", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("reason", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(outcome IS NULL) = (told_at IS NULL)", name=op.f("ck_trials_told_has_outcome")
        ),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'pruned', 'failed', 'cancelled')",
            name=op.f("ck_trials_outcome"),
        ),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_trials_sweep_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_trials_job_id")),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_trials")),
    )
    op.create_index(
        "ix_trials_untold", "trials", ["sweep_id"], postgresql_where=sa.text("told_at IS NULL")
    )
    op.add_column("jobs", sa.Column("trial_number", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("seed_index", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_jobs_sweep_id"), "jobs", "sweeps", ["sweep_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_jobs_trial_is_whole"),
        "jobs",
        "(sweep_id IS NULL) = (trial_number IS NULL) AND (sweep_id IS NULL) = (seed_index IS NULL)",
    )
    op.create_index(
        "uq_jobs_trial",
        "jobs",
        ["sweep_id", "trial_number", "seed_index"],
        unique=True,
        postgresql_where=sa.text("sweep_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_sweep_live",
        "jobs",
        ["sweep_id"],
        postgresql_where=sa.text(
            "sweep_id IS NOT NULL AND state IN ('queued', 'running', 'paused')"
        ),
    )
    op.drop_index("ix_jobs_sweep_id", table_name="jobs")


def downgrade() -> None:
    op.create_index(
        "ix_jobs_sweep_id", "jobs", ["sweep_id"], postgresql_where=sa.text("sweep_id IS NOT NULL")
    )
    op.drop_index("ix_jobs_sweep_live", table_name="jobs")
    op.drop_index("uq_jobs_trial", table_name="jobs")
    op.drop_constraint(op.f("ck_jobs_trial_is_whole"), "jobs")
    op.drop_constraint(op.f("fk_jobs_sweep_id"), "jobs")
    # Their runs stay, as jobs of their own: nothing else would know what they were part of.
    op.execute("UPDATE jobs SET sweep_id = NULL WHERE sweep_id IS NOT NULL")
    op.drop_column("jobs", "seed_index")
    op.drop_column("jobs", "trial_number")
    op.drop_table("trials")
    op.drop_table("sweeps")
    op.execute("DROP SCHEMA optuna CASCADE")
