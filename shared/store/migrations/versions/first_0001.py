"""Sessions, their turns, and the tombstones of deleted sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("system", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("meta", sa.Text),
    )
    op.create_index("sessions_of_owner", "sessions", ["owner", "updated_ms", "id"])
    op.create_table("tombstones", sa.Column("id", sa.Text, primary_key=True))
    op.create_table(
        "turns",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("params", sa.Text),
        sa.Column("asked_ms", sa.BigInteger, nullable=False),
        sa.Column("meta", sa.Text),
        sa.Column("generation", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("status", sa.Text, nullable=False, server_default=sa.text("'open'")),
        sa.Column("reason", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("text_sha256", sa.Text),
        sa.Column("answered_by", sa.Text),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("details", sa.Text),
        sa.UniqueConstraint("session", "id", name="turns_of_session"),
    )
