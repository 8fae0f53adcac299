"""How Alembic runs the migrations: on the connection it is handed, in that transaction."""

from alembic import context

from app.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
