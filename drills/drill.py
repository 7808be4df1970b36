"""One drill: a fault under traffic, until all works again, and what became of the predictions."""

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import redis
from django.conf import settings
from kombu import Connection, Producer
from kombu.exceptions import OperationalError as BrokerError

from drills.faults import Fault
from drills.product import Product
from drills.traffic import Traffic
from titanic_site.env import broker_url

#: How soon everything works again, with nobody's help.
HEALED_WITHIN = 30.0
#: /healthz has this long to answer at a fault's beginning; from then on it answers within a second.
FIRST_SECONDS = 5.0
_GIVE_UP_SECONDS = 120.0
_BEFORE_SECONDS = _AFTER_SECONDS = 1.5
_RESEND_SECONDS = 5.0

HEAD = (
    "fault", "sent", "errors", "healed after", "acknowledged", "lost", "doubled",
    "slowest /healthz, first 5 s", "later",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a fault did to clients and to the log."""

    fault: str
    sent: int
    #: How often each other answer than a prediction was seen.
    errors: Counter[str]
    #: From the cause's end; None when it did not heal.
    seconds_to_heal: float | None
    acknowledged: int
    lost: int
    doubled: int
    first_health: float
    later_health: float

    @property
    def is_survived(self) -> bool:
        """Tell whether nothing was lost or doubled, and all healed in time."""
        is_healed = self.seconds_to_heal is not None and self.seconds_to_heal <= HEALED_WITHIN
        return is_healed and not self.lost and not self.doubled

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        healed = "never" if self.seconds_to_heal is None else f"{self.seconds_to_heal:.1f} s"
        counts = (self.acknowledged, self.lost, self.doubled)
        health = (f"{seconds:.2f} s" for seconds in (self.first_health, self.later_health))
        return (self.fault, str(self.sent), str(self.errors.total()), healed, *map(str, counts), *health)


def drill(product: Product, fault: Fault, *, seconds: float) -> Result:
    """Apply a fault under traffic, wait until all works again, and count."""
    traffic = Traffic(product.url, product.token)
    with traffic.running():
        time.sleep(_BEFORE_SECONDS)
        began_at = time.monotonic()
        with fault.apply(product):
            if fault.lasts:
                time.sleep(seconds)
            over_at = time.monotonic()
        works_at = _wait_until_all_works(product, traffic)
        time.sleep(_AFTER_SECONDS)
    last_error = max((answer.answered_at for answer in traffic.errors), default=over_at)
    rows = stored(product, traffic.acknowledged)
    return Result(
        fault=fault.name,
        sent=len(traffic.predictions),
        errors=Counter(answer.reason for answer in traffic.errors),
        seconds_to_heal=None if works_at is None else max(works_at, last_error) - over_at,
        acknowledged=len(traffic.acknowledged),
        lost=len(traffic.acknowledged) - len(rows),
        doubled=rows.total() - len(rows),
        # One that was on its way when the fault began counts too.
        first_health=traffic.slowest_health(since=began_at - 0.2, until=began_at + FIRST_SECONDS),
        later_health=traffic.slowest_health(since=began_at + FIRST_SECONDS),
    )


def _wait_until_all_works(product: Product, traffic: Traffic) -> float | None:
    """Return when a prediction sent from now on is stored and a worker of each queue took a message; None if never.

    That takes the web, both servers, the workers and, since it sends the log's writer, the scheduler.
    """
    resend_at = since = time.monotonic()
    heartbeats: list[bytes | None] | None = None
    while (now := time.monotonic()) < since + _GIVE_UP_SECONDS:
        try:
            heartbeats = heartbeats or _heartbeats(product)
            if now >= resend_at:
                # A message may have been lost with its worker.
                _send_heartbeats(product)
                resend_at = now + _RESEND_SECONDS
            fresh = [answer.id for answer in traffic.predictions if answer.id and answer.sent_at > since]
            is_new = [new != old for new, old in zip(_heartbeats(product), heartbeats, strict=True)]
            if all(is_new) and _rows(product, set(fresh[:1])):
                return time.monotonic()
        except (psycopg2.Error, redis.RedisError, BrokerError):
            # Not yet.
            pass
        time.sleep(0.1)
    return None


def _send_heartbeats(product: Product) -> None:
    from titanic_site.tasks import heartbeat

    with Connection(broker_url(product.layout.redis_url)) as broker:
        producer = Producer(broker)
        for queue in settings.QUEUES:
            heartbeat.apply_async(kwargs={"queue": queue}, queue=queue, expires=60, retry=False, producer=producer)


def _heartbeats(product: Product) -> list[bytes | None]:
    with redis.Redis.from_url(product.layout.redis_url, socket_timeout=2) as client:
        return client.mget([f"heartbeat:{queue}" for queue in settings.QUEUES])


def stored(product: Product, ids: set[str]) -> Counter[str]:
    """Return the rows of each of these predictions, as soon as all have one, or after a time."""
    end = time.monotonic() + HEALED_WITHIN
    while len(rows := _rows(product, ids)) < len(ids) and time.monotonic() < end:
        time.sleep(0.2)
    return rows


def _rows(product: Product, ids: set[str]) -> Counter[str]:
    with closing(psycopg2.connect(product.layout.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM predictions_prediction WHERE id = ANY(%s::uuid[])", [list(ids)])
        return Counter(id_ for (id_,) in cursor)
