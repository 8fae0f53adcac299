"""The tables and the way to them. Use-cases (`app.jobs`) are the only ones that write here."""

from app.db.api_key import ApiKey
from app.db.attempt import Attempt
from app.db.audit_entry import AuditEntry
from app.db.base import Base, Json
from app.db.checkpoint import Checkpoint
from app.db.database import Database
from app.db.idempotency_key import IdempotencyKey
from app.db.job import Job
from app.db.job_event import JobEvent
from app.db.metric_block import MetricBlock
from app.db.metric_point import MetricPoint
from app.db.sweep import Sweep
from app.db.trial import Trial
from app.db.webhook import Webhook, WebhookDelivery
from app.db.worker import Worker

__all__ = [
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Base",
    "Checkpoint",
    "Database",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "Json",
    "MetricBlock",
    "MetricPoint",
    "Sweep",
    "Trial",
    "Webhook",
    "WebhookDelivery",
    "Worker",
]
