from order_engine.execution.migrations.environment import apply_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    apply_sql(__file__)
