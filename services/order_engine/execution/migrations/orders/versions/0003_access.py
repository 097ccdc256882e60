import secrets

from alembic import op

from order_engine.execution.migrations.environment import apply_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    apply_sql(__file__)
    op.get_bind().exec_driver_sql(
        "INSERT INTO frame_seals (id, secret) VALUES (1, %s)", (secrets.token_bytes(32),)
    )
