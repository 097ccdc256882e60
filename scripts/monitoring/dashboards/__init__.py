from collections.abc import Sequence

from monitoring.dashboard import Dashboard
from monitoring.dashboards.datastores import DATASTORES
from monitoring.dashboards.dispatchers import DISPATCHERS
from monitoring.dashboards.overview import OVERVIEW
from monitoring.dashboards.queues import QUEUES
from monitoring.dashboards.venues import VENUES
from monitoring.dashboards.ws_gateway import WS_GATEWAY

DASHBOARDS: Sequence[Dashboard] = (
    OVERVIEW,
    QUEUES,
    DISPATCHERS,
    WS_GATEWAY,
    VENUES,
    DATASTORES,
)
