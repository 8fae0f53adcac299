"""Audit log, webhooks with their outbox, a limit of requests, and where a job came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What is told of an event is settled when it happens, in its own transaction: one look into a
# table that is empty or short.
FUNCTION = """
CREATE FUNCTION enqueue_webhook_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  told text := CASE NEW.type WHEN 'state' THEN 'job.' || (NEW.payload ->> 'state')
                             ELSE NEW.type || '.created' END;
BEGIN
  INSERT INTO webhook_deliveries (webhook_id, type, body)
  SELECT webhooks.id, told,
         jsonb_build_object(
           'type', told,
           'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'job', jsonb_build_object('id', jobs.id, 'kind', jobs.kind, 'name', jobs.name,
                                     'dataset', jobs.dataset, 'labels', jobs.labels,
                                     'sweep_id', jobs.sweep_id),
           'event', jsonb_build_object('seq', NEW.seq, 'attempt', NEW.attempt,
                                       'payload', NEW.payload))
  FROM webhooks, jobs
  WHERE jobs.id = NEW.job_id AND told = ANY (webhooks.events)
    AND jobs.labels @> webhooks.labels;
  RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER enqueue_webhook_deliveries AFTER INSERT ON events
FOR EACH ROW WHEN (NEW.type IN ('state', 'checkpoint'))
EXECUTE FUNCTION enqueue_webhook_deliveries()
"""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("request_id", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.BigInteger(), nullable=True))
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("created", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_actor_seq", "audit_log", ["actor", "seq"])
    op.create_index("ix_audit_log_target_seq", "audit_log", ["target", "seq"])
    op.create_index("ix_audit_log_created", "audit_log", ["created"], postgresql_using="gin")
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("api_key_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_webhooks_api_key_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_state")
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_webhook_deliveries_webhook_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_webhook_deliveries_webhook_id_seq", "webhook_deliveries", ["webhook_id", "seq"]
    )
    op.create_index("ix_webhook_deliveries_created_at", "webhook_deliveries", ["created_at"])
    op.execute(FUNCTION)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER enqueue_webhook_deliveries ON events")
    op.execute("DROP FUNCTION enqueue_webhook_deliveries()")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
    op.drop_table("audit_log")
    op.drop_column("api_keys", "requests_per_minute")
    op.drop_column("jobs", "request_id")
