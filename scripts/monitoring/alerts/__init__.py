"""All alerts. A fleet that is idle, freshly started, or merely busy fires none of them."""

from collections.abc import Mapping, Sequence

from monitoring.alerts.delivery import DELIVERY
from monitoring.alerts.fleet import FLEET
from monitoring.alerts.http import HTTP
from monitoring.alerts.orders import ORDERS
from monitoring.alerts.queues import QUEUES
from monitoring.alerts.stores import STORES
from monitoring.alerts.venues import VENUES
from monitoring.rule import Alert

GROUPS: Mapping[str, Sequence[Alert]] = {
    "orders": ORDERS,
    "queues": QUEUES,
    "delivery": DELIVERY,
    "http": HTTP,
    "stores": STORES,
    "venues": VENUES,
    "fleet": FLEET,
}
