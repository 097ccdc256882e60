from order_engine.execution.migrations.environment import apply_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    apply_sql(__file__)
