"""The prediction log: nothing is lost, nothing counts twice, and what cannot be stored is in nobody's way."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Sum
from django.http import Http404
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.test import APIClient

from core import postgres_copy, redis
from core.models import Action, AuditEntry
from ingestion.schema import FIELD_NAMES
from monitoring import health
from predictions import log, partitions
from predictions.log import drainer, stream
from predictions.log.entries import COLUMNS, StreamEntry, encode
from predictions.models import DeadLetter, Prediction, PredictionCount, lowest_id, new_id
from tests.core.test_postgres_waits import bounded
from tests.people import NOBODY, OWEN
from tests.services import postgres_away, table_away
from tests.web import environment

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/predictions/"


def entry(moment: datetime | None = None, **changes: Any) -> Any:
    """A prediction about nobody in particular, made at the moment."""
    moment = moment or timezone.now()
    low = lowest_id(moment).int
    values: dict[str, Any] = {
        "id": type(new_id())(int=low | (new_id().int & ((1 << 80) - 1))),
        "model_version": 1, "probability": 0.25, "threshold": 0.5, "predicted": False, "source": "api",
        "scoring_job_id": None, "created_at": moment,
        **{name: NOBODY.get(name, 0 if name in ("sibsp", "parch") else None) for name in FIELD_NAMES},
    }  # fmt: skip
    return log.Entry(**{**values, **changes})


def partition_of(one: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM predictions_prediction WHERE id = %s", [one.id])
        (name,) = cursor.fetchone()
    return str(name)


def counted() -> int:
    """How many predictions were counted where they were stored."""
    return int(PredictionCount.objects.aggregate(total=Sum("count", default=0))["total"])


@pytest.fixture
def months() -> Iterator[None]:
    """The partitions as they were, whatever the test made or dropped."""
    yield
    Prediction.objects.all().delete()
    before = timezone.now()
    kept = {f"predictions_prediction_{partitions._add_months(partitions._month_of(before), n):%Y_%m}" for n in range(3)}
    with connection.cursor() as cursor:
        for name in set(partitions.names()) - kept:
            cursor.execute(f"DROP TABLE {name}")
    partitions.create_upcoming()


# Ten drainers in turn, each killed when Postgres has the first part of its COPY.
_DYING = """
import io, os, signal, types
import django
django.setup()
from predictions import log
from core import postgres_copy

class Dying(io.BytesIO):
    def read(self, size=-1):
        if self.tell():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(8192)

postgres_copy.io = types.SimpleNamespace(BytesIO=Dying, StringIO=io.StringIO)
for _ in range(10):
    drainer = os.fork()
    if not drainer:
        log.drain()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(drainer, 0)[1]) == -signal.SIGKILL
"""


def test_a_drainer_killed_in_the_middle_of_a_copy_ten_times_loses_and_doubles_nothing() -> None:
    written = [entry() for _ in range(300)]
    for one in written[:100]:
        log.append([one])
    log.append(written[100:])

    subprocess.run([sys.executable, "-c", _DYING], env=environment(), cwd=settings.BASE_DIR, check=True)

    assert (Prediction.objects.count(), counted()) == (0, 0)
    assert log.backlog() == 300
    assert log.drain() == 300
    assert counted() == 300
    assert set(Prediction.objects.values_list("pk", flat=True)) == {UUID(str(one.id)) for one in written}
    assert log.backlog() == 0


class TestMonths:
    """Partitions by the time in the key."""

    def test_a_prediction_lies_in_its_month(self) -> None:
        one = entry()

        log.insert([one])

        assert partition_of(one) == f"predictions_prediction_{one.created_at:%Y_%m}"

    def test_a_redelivery_at_midnight_lands_once(self, months: None) -> None:
        midnight = datetime(2026, 12, 1, tzinfo=UTC)
        partitions.create_upcoming(midnight)
        one = entry(midnight - timedelta(milliseconds=1))

        log.insert([one])
        log.insert([one, entry(midnight)])
        log.insert([one])

        assert (Prediction.objects.count(), counted()) == (2, 2)
        assert partition_of(one) == "predictions_prediction_2026_11"

    def test_a_row_of_a_month_nobody_made_waits_in_the_default_and_is_brought_home(self, months: None) -> None:
        late, far = entry(datetime(2031, 3, 31, 23, 59, tzinfo=UTC)), entry(datetime(2040, 1, 1, tzinfo=UTC))
        log.insert([late, far])
        assert partition_of(late) == "predictions_prediction_default"

        partitions.create_upcoming(datetime(2031, 4, 2, tzinfo=UTC))
        partitions.create_upcoming(datetime(2031, 4, 2, tzinfo=UTC))

        assert partition_of(late) == "predictions_prediction_2031_03"
        assert partition_of(far) == "predictions_prediction_default"
        assert {"predictions_prediction_2031_04", "predictions_prediction_2031_06"} <= set(partitions.names())

    def test_months_older_than_what_is_kept_are_dropped_whole(self, months: None) -> None:
        old, kept = entry(datetime(2031, 1, 31, tzinfo=UTC)), entry(datetime(2031, 2, 1, tzinfo=UTC))
        now = datetime(2031, 4, 30, tzinfo=UTC)
        log.insert([old, kept, entry(datetime(2021, 1, 1, tzinfo=UTC))])
        partitions._create(datetime(2031, 1, 1, tzinfo=UTC))
        partitions.create_upcoming(now)

        dropped = partitions.drop_old(keep=2, now=now)

        assert "predictions_prediction_2031_01" in dropped
        assert list(Prediction.objects.values_list("pk", flat=True)) == [kept.id]

    def test_everything_is_kept_unless_somebody_says_how_much(self, months: None) -> None:
        assert settings.PREDICTIONS_KEPT_MONTHS is None
        partitions._create(datetime(2020, 1, 1, tzinfo=UTC))

        partitions.maintain()

        assert "predictions_prediction_2020_01" in partitions.names()


class TestHistory:
    """Looking back costs what is shown, not what there is."""

    @pytest.mark.parametrize(
        ("filters", "index"),
        [
            ({}, "pkey"), ({"model_version": 7}, "model_version_id_idx"), ({"source": "form"}, "source_id_idx"),
            ({"predicted": True}, "pkey"), ({"source": "batch"}, "pkey"),
            ({"scoring_job_id": 5}, "scoring_job_id_id_idx"), ({"reference": "a"}, "reference_id_idx"),
            ({"anonymous": True}, f"{timezone.now():%Y_%m}_id_idx"),
        ],
    )  # fmt: skip
    def test_each_filter_has_its_index(self, filters: dict[str, Any], index: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        try:
            plan = Prediction.objects.filter(**filters).newest(51).explain()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ALL")

        assert index in plan, plan

    def test_a_question_about_a_time_reads_that_months_partition_alone(self) -> None:
        now = timezone.now()

        plan = Prediction.objects.since(now - timedelta(seconds=1)).until(now + timedelta(seconds=1)).explain()

        named = [name for name in partitions.names() if name in plan]
        assert named == [f"predictions_prediction_{now:%Y_%m}"], plan

    @pytest.mark.parametrize("moment", ["0077-10-08T18:45:34+14:56", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"])
    def test_the_api_is_asked_about_any_time(self, api: APIClient, moment: str) -> None:
        for name in ("since", "until"):
            assert api.get(URL, {name: moment}).status_code == 200

    def test_the_api_filters_by_time(self, api: APIClient) -> None:
        now = timezone.now()
        old, young = entry(now - timedelta(hours=2)), entry(now)
        log.insert([old, young])
        between = {"since": (now - timedelta(hours=3)).isoformat(), "until": (now - timedelta(hours=1)).isoformat()}

        found = api.get(URL, between).json()["results"]

        assert [row["id"] for row in found] == [str(old.id)]


def test_it_works(api: APIClient, champion: Any) -> None:
    answer = api.post(URL, OWEN, format="json").json()

    assert log.drain() == 1

    stored = Prediction.objects.get()
    assert stored.probability == answer["probability"]
    (count,) = PredictionCount.objects.values_list("model_version", "predicted", "source", "count")
    assert count == (stored.model_version, stored.predicted, "api", 1)


class TestEarlierVersions:
    """Lines without the columns that came later: in the stream, among dead letters, and beside lines of today."""

    @pytest.mark.parametrize("is_bounded", [False, True])
    def test_they_are_looked_up_erased_and_stored(self, is_bounded: bool) -> None:
        old, twin, erased, letter = (entry() for _ in range(4))
        _wait(_old(old), entry(), _old(twin) + encode([entry()]) + _old(erased), _old(entry(model_version=2**40)))
        DeadLetter.objects.create(entry_id="1-0", raw=_old(letter), error="", attempts=3)

        with bounded() if is_bounded else nullcontext():
            waiting = log.get(UUID(str(old.id)))
            with transaction.atomic():
                erased_ids = log.erase_unstored("id", str(erased.id))
            moved, is_stored = log.drain(), log.retry(DeadLetter.objects.get())

        assert (waiting.pk, waiting.reference, waiting.anonymous, waiting.request_id) == (old.id, None, False, None)
        assert erased_ids == {str(erased.id)}
        assert (moved, is_stored, log.backlog()) == (4, True, 1)
        rows = Prediction.objects.filter(pk__in=[old.id, twin.id, letter.id])
        assert list(rows.values_list("reference", "anonymous", "request_id")) == [(None, False, None)] * 3
        assert (Prediction.objects.count(), counted()) == (5, 5)


def test_the_log_of_an_earlier_version_gets_its_indexes_partition_by_partition(months: None) -> None:
    names = ["prediction_by_reference", "prediction_anonymous"]
    with connection.cursor() as cursor:
        MigrationExecutor(connection).migrate([("predictions", "0004_fill_upload_bytes")])
        try:
            log_of_before = [name for name in COLUMNS if name not in ("reference", "anonymous", "request_id")]
            postgres_copy.copy_lines("predictions_prediction", log_of_before, _old(entry()))
            MigrationExecutor(connection).migrate([("predictions", "0005_prediction_reference_anonymous_request_id")])
            # As a migration that broke off leaves it.
            cursor.execute("CREATE INDEX prediction_anonymous ON ONLY predictions_prediction (id) WHERE anonymous;"
                           "CREATE INDEX predictions_prediction_default_id_idx ON predictions_prediction_default (id)"
                           " WHERE anonymous")  # fmt: skip
        finally:
            executor = MigrationExecutor(connection)
            executor.migrate(executor.loader.graph.leaf_nodes())
        cursor.execute("SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid::regclass::text = ANY(%s)", [names])
        assert cursor.fetchone() == (True,)

    assert not Prediction.objects.get().anonymous


class TestPoison:
    """What cannot be stored is put aside whole, and blocks nobody."""

    def test_it_is_put_aside_after_three_tries_and_blocks_nobody(self) -> None:
        good = [entry() for _ in range(5)]
        _wait(*good[:2], b"\xc1 no message", {b"other": b"field"}, *good[2:])
        # Postgres' own refusals: a character no text may have, and a number too large.
        _wait(entry(name="x\0"), entry(model_version=2**40), entry(probability=None))

        # Almost lines of predictions.
        _wait(b"", b"[]\n", b'["abc]\n', b"[1]\nx\n[2]\n", b"[\r]\n", encode([good[0]])[:-2] + b",1]\n")
        _wait(b'["a"]\n["b"]\n')

        moved = [log.drain() for _ in range(4)]

        assert moved == [5, 0, 13, 0]
        assert set(Prediction.objects.values_list("pk", flat=True)) == {one.id for one in good}
        assert DeadLetter.objects.count() == 12
        assert DeadLetter.objects.filter(raw=b"\xc1 no message", attempts=3).exists()
        assert all(letter.error for letter in DeadLetter.objects.all())
        assert log.backlog() == 0
        assert redis.client().hlen(drainer.ATTEMPTS) == 0

    def test_the_good_ones_of_a_large_batch_are_found_by_halves(self) -> None:
        good = [entry() for _ in range(600)]
        _wait(*good[:77], entry(model_version=2**40), *good[77:])

        assert log.drain() == 600

        assert Prediction.objects.count() == 600

    def test_it_does_not_take_along_who_came_in_the_same_entry(self) -> None:
        good = [entry() for _ in range(9)]
        log.append([*good[:4], entry(model_version=2**40), *good[4:]])

        for _ in range(4):
            log.drain()

        assert set(Prediction.objects.values_list("pk", flat=True)) == {one.id for one in good}
        assert DeadLetter.objects.get().attempts == 3
        assert log.backlog() == 0

    def test_an_open_quote_does_not_take_a_neighbour_along(self) -> None:
        good = [entry() for _ in range(3)]
        opens, closes = encode([entry(name="x")]).split(b'x"')[0] + b"x]\n", b'[",null,null]\n'
        _wait(good[0], opens, good[1], closes, good[2])

        for _ in range(4):
            log.drain()

        assert set(Prediction.objects.values_list("pk", flat=True)) == {one.id for one in good}
        assert DeadLetter.objects.count() == 2

    def test_a_dead_letter_delivered_again_is_one_letter(self) -> None:
        letter = _dead_letter()
        redis.client().delete(stream.STREAM)
        redis.client().xadd(stream.STREAM, {stream.FIELD: bytes(letter.raw)}, id=letter.entry_id)
        redis.client().hset(drainer.ATTEMPTS, letter.entry_id, 2)

        log.drain()

        assert (DeadLetter.objects.count(), log.backlog()) == (1, 0)

    def test_a_postgres_that_is_away_counts_as_no_try(self) -> None:
        _wait(entry())
        with postgres_away():
            for _ in range(5):
                with pytest.raises(OperationalError):
                    log.drain()

        assert redis.client().hlen(drainer.ATTEMPTS) == 0
        assert log.drain() == 1

    def test_a_drainer_whose_connection_is_ended_loses_nothing_and_blames_nobody(self) -> None:
        _wait(*[entry() for _ in range(50)])
        with connection.cursor() as cursor:
            cursor.execute("CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS"
                           " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
                           "CREATE TRIGGER hang_up BEFORE INSERT ON predictions_prediction"
                           " FOR EACH ROW EXECUTE FUNCTION hang_up()")  # fmt: skip
        try:
            with pytest.raises((OperationalError, InterfaceError)):
                log.drain()
        finally:
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute("DROP FUNCTION hang_up() CASCADE")

        assert (log.backlog(), redis.client().hlen(drainer.ATTEMPTS)) == (50, 0)
        assert log.drain() == 50
        assert not DeadLetter.objects.exists()

    @pytest.mark.ignore_template_errors  # the theme has its own ways
    def test_a_person_reads_it_and_tries_again(self, admin_client: Client) -> None:
        bad, corrected = _dead_letter(), _dead_letter()
        one = entry()
        DeadLetter.objects.filter(pk=corrected.pk).update(raw=encode([one]))

        page = admin_client.get(f"/admin/predictions/deadletter/{bad.pk}/change/")
        done = admin_client.post(
            "/admin/predictions/deadletter/",
            {"action": "try_again", "_selected_action": [bad.pk, corrected.pk], "confirmed": "yes"},
            follow=True,
        )

        assert "no message" in page.text
        assert "1 prediction stored." in done.text
        assert Prediction.objects.get().pk == one.id
        assert DeadLetter.objects.get().attempts == 4
        retried = AuditEntry.objects.filter(action=Action.REPEATED, object_kind="dead letter")
        assert sorted(entry.after["stored"] for entry in retried) == [False, True]
        assert admin_client.post("/admin/predictions/deadletter/add/").status_code == 403
        # Whoever deletes it has to confirm.
        delete = f"/admin/predictions/deadletter/{bad.pk}/delete/"
        assert admin_client.post(delete).status_code == 200
        assert DeadLetter.objects.exists()
        admin_client.post(delete, {"post": "yes"})
        assert not DeadLetter.objects.exists()


class TestStream:
    """What waits, where it is found, and how much may wait."""

    @pytest.mark.parametrize(
        "name", ["a\rb", "a\nb", "a\r\nb", 'a"\rb', "\\.", "x\n\\.\ny", "\\N", "NULL", "a\tb,c", "é😀"]
    )
    def test_a_name_comes_back_as_it_was_given(self, name: str) -> None:
        waiting = entry(name=name)
        _wait(waiting)

        assert log.drain() == 1

        assert Prediction.objects.get(pk=waiting.id).name == name

    def test_a_prediction_is_found_among_many_that_wait(self) -> None:
        early, wanted = entry(timezone.now() - timedelta(hours=1)), entry()
        _wait(*[entry() for _ in range(stream.READ_ENTRIES)], wanted, b"\xc1" + str(wanted.id).encode())
        _wait(entry(early.created_at, name=str(wanted.id), cabin=str(wanted.id)))

        found = log.get(wanted.id)

        assert (found.pk, found.probability) == (wanted.id, wanted.probability)
        with pytest.raises(Http404):
            log.get(entry().id)

    def test_a_prediction_is_found_while_it_is_being_moved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted = entry()
        _wait(wanted)

        def read_too_late(**window: Any) -> Iterator[list[StreamEntry]]:
            monkeypatch.undo()
            log.drain()
            return stream.read(**window)

        monkeypatch.setattr(stream, "read", read_too_late)

        assert log.get(wanted.id).pk == wanted.id

    def test_a_stream_that_is_away_is_not_asked_by_everybody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commands: list[Any] = []

        def away(*arguments: Any) -> Any:
            commands.append(arguments)
            raise RedisConnectionError

        clock = 100.0
        monkeypatch.setattr(stream, "time", SimpleNamespace(monotonic=lambda: clock))
        with monkeypatch.context() as without:
            without.setattr(redis, "client", away)
            for _ in range(5):
                log.append([entry()])

        assert (len(commands), Prediction.objects.count()) == (1, 5)
        clock += 1.1
        log.append([entry()])
        assert log.backlog() == 1

    def test_several_drainers_at_once_move_each_entry_once(self) -> None:
        entries = [entry() for _ in range(2_000)]
        _wait(*entries)

        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(_drain_in_a_thread) for _ in range(12)]:
                done.result()
        log.drain()

        assert set(Prediction.objects.values_list("pk", flat=True)) == {one.id for one in entries}
        assert (log.backlog(), DeadLetter.objects.count()) == (0, 0)

    def test_a_stream_that_is_full_is_passed_by(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _wait(entry())
        _limit(monkeypatch, 1)
        one = entry()

        log.append([one])

        assert log.backlog() == 1
        assert Prediction.objects.get().pk == one.id

    @pytest.mark.parametrize("way", ["full", "out of memory", "disk full"])
    def test_with_both_away_it_says_so_and_claims_nothing(
        self, api: APIClient, champion: Any, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        refuse = {"full": lambda: _limit(monkeypatch, 0), "out of memory": _fill, "disk full": _misconfigure}[way]
        with table_away():
            try:
                refuse()
                response = api.post(URL, OWEN, format="json")
            finally:
                redis.client().config_set("maxmemory", 0)
                redis.client().config_set("min-replicas-to-write", 0)

        assert response.status_code == 503, response.json()
        assert "cannot be recorded" in response.json()["errors"][0]["detail"]
        assert (log.backlog(), Prediction.objects.count()) == (0, 0)

    @pytest.mark.parametrize("refuse", ["_fill", "_misconfigure"])
    def test_a_redis_that_takes_nothing_is_passed_by(self, api: APIClient, champion: Any, refuse: str) -> None:
        globals()[refuse]()
        try:
            alone = api.post(URL, OWEN, format="json")
            together = api.post(f"{URL}batch/", {"instances": [OWEN, NOBODY]}, format="json")
        finally:
            redis.client().config_set("maxmemory", 0)
            redis.client().config_set("min-replicas-to-write", 0)

        assert (alone.status_code, together.status_code) == (201, 200)
        assert (log.backlog(), Prediction.objects.count()) == (0, 3)

    def test_what_waits_too_long_makes_the_site_unready_and_is_named(self) -> None:
        assert health.report()["checks"]["prediction log"] == "ok"
        seconds, _ = redis.client().time()
        redis.client().xadd(stream.STREAM, {stream.FIELD: encode([entry()])}, id=(seconds - 75) * 1000)

        text = str(health.report()["checks"]["prediction log"])

        assert text.startswith("The prediction log is stuck: 1 predictions wait for PostgreSQL, the oldest for 7")


@pytest.mark.parametrize("others", [[], ["a\nb"]], ids=["as JSON", "as CSV"])
def test_what_is_copied_into_a_table_is_what_was_given(others: list[str]) -> None:
    words = [
        *others,
        None,
        "null",
        "NULL",
        "a,b",
        '"',
        'a"b',
        '""',
        "]",
        "[",
        "],[",
        "'",
        "\\.",
        ".",
        "é🚢\u2028",
        "\x7f",
    ]
    if others:
        words += ["\\", '\\"', "\\n", "\r", "\t", "\r\n"]
    rows = [(place, word, 0.1, False, timezone.now()) for place, word in enumerate(words)]

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE copied (place int, word text, share float, is_so bool, at timestamptz)")
        postgres_copy.copy_rows("copied", ("place", "word", "share", "is_so", "at"), rows)
        cursor.execute("SELECT * FROM copied ORDER BY place")
        found = cursor.fetchall()
        cursor.execute("DROP TABLE copied")

    assert found == rows


def _wait(*entries: Any) -> None:
    """Put entries, bytes or whole messages into the stream."""
    for one in entries:
        message = one if isinstance(one, dict) else {stream.FIELD: one if isinstance(one, bytes) else encode([one])}
        redis.client().xadd(stream.STREAM, message)


def _old(one: Any) -> bytes:
    """The line that the version before wrote."""
    return msgspec.json.encode(msgspec.structs.astuple(one)[: COLUMNS.index("reference")]) + b"\n"


def _dead_letter() -> DeadLetter:
    _wait(b"\xc1 no message")
    for _ in range(drainer.MAX_ATTEMPTS):
        log.drain()
    return DeadLetter.objects.latest("pk")


def _drain_in_a_thread() -> None:
    try:
        log.drain()
    finally:
        connection.close()


def _limit(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(stream, "MAX_BACKLOG", count)
    stream.breaker.reset()


def _fill() -> None:
    """A Valkey whose memory is used up."""
    redis.client().config_set("maxmemory", 1)


def _misconfigure() -> None:
    """A Valkey that reads and does not write, as with a full disk."""
    redis.client().config_set("min-replicas-to-write", 1)
