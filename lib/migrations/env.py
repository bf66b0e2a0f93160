"""Alembic's entry: it migrates through the connection that `lib.db.migrate` hands it."""

from alembic import context

from lib.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
