"""What a pull learns and obeys: every table and column that a store of 0.1 lacks."""

from alembic import op
from sqlalchemy import Column, inspect

from fhir_bridge.store.schema import metadata

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is missing; new columns are empty or carry a default of the server."""
    connection = op.get_bind()
    metadata.create_all(connection)
    found = inspect(connection)
    for table in metadata.sorted_tables:
        present = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                op.add_column(
                    table.name,
                    Column(
                        column.name,
                        column.type,
                        nullable=column.nullable,
                        server_default=column.server_default,
                    ),
                )
