"""What `make run` shows once the engine is ready."""

from collections.abc import Sequence

from order_engine.local.datastores import Datastores
from order_engine.local.programs import Program, origin
from order_engine.local.settings import LocalSettings

ORDER = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"1.5","slippageTolerance":0.5}'

TEXT = """
The engine is ready.

  HTTP API    {http}  (described in {http}/openapi.json)
  streams     {ws}/api/orders/ORDER_ID/stream
  metrics     {metrics}/metrics; {others} for the other processes
  PostgreSQL  {postgres}
  its chain   {chain}
  Redis       {redis}

Try it in a second terminal:

  make demo            places orders and shows every status

  curl {http}/api/orders/execute -H 'Content-Type: application/json' \\
    -d '{order}'

Press Ctrl-C to stop. The orders are kept{where}.
"""


def announcement(
    settings: LocalSettings, programs: Sequence[Program], datastores: Datastores, *, port: int
) -> str:
    http = origin(settings.host, port)
    embedded = {datastore.kind: datastore.url for datastore in datastores.embedded}
    others = [program.admin_port for program in programs[1:]]
    in_a_row = others[-1] - others[0] == len(others) - 1
    return TEXT.format(
        http=http,
        ws=http.replace("http", "ws", 1),
        metrics=origin(settings.admin_host, programs[0].admin_port),
        others=(
            f"ports {others[0]} to {others[-1]}"
            if in_a_row
            else f"ports {', '.join(map(str, others))}"
        ),
        postgres=datastores.database_url if "postgres" in embedded else "yours (DATABASE_URL)",
        chain=(
            datastores.chain_database_url
            if "postgres" in embedded
            else "yours (CHAIN_DATABASE_URL)"
        ),
        redis=embedded.get("redis", "yours (REDIS_URL or REDIS_HOST)"),
        order=ORDER,
        where=" in .local/" if "postgres" in embedded else "",
    )
