"""The first schema: every table of 0.1."""

from alembic import op

from fhir_bridge.store.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    metadata.create_all(op.get_bind())
