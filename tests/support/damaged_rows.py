"""Rows that PostgreSQL refuses today: older versions, other encodings and damaged disks left them."""

from psycopg2.extensions import parse_dsn

from support.stores import execute

CHECKED = {
    "orders": ("type", "status", "amount_in", "slippage_tolerance"),
    "order_events": ("status",),
}
UNCHECKED = "ALTER TABLE {0} DROP CONSTRAINT IF EXISTS {0}_{1}_check"
ENCODED = "UPDATE pg_database SET encoding = pg_char_to_encoding('{1}') WHERE datname = '{0}'"

TEXT_THAT_IS_NOT_UTF8 = r"UPDATE orders SET token_in = E'\377' WHERE id = '{}'"


def damage(url: str, sql: str) -> None:
    """Runs an UPDATE that writes what checks and the encoding of the database refuse."""
    name = parse_dsn(url)["dbname"]
    for table, columns in CHECKED.items():
        for column in columns:
            execute(url, UNCHECKED.format(table, column))
    execute(url, ENCODED.format(name, "SQL_ASCII"))
    execute(url, sql)
    execute(url, ENCODED.format(name, "UTF8"))
