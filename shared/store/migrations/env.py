"""What alembic runs: the migrations, on the connection that shared.store.versions hands over."""

from alembic import context

from shared.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
