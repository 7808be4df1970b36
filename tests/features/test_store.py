"""The feature store: whole batches, single rows, and what happens when Redis loses them."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as some
from rest_framework.test import APIClient

from core import redis
from core.errors import Conflict, TitanicError
from core.jobs import State
from features import packing, retention, services, store, tasks
from features.definition import FEATURES
from features.models import FeatureBatch
from ingestion.models import Passenger
from tests.people import CAST
from titanic_site import pipeline
from training.models import ModelVersion


@pytest.fixture
def batch(champion: ModelVersion) -> FeatureBatch:
    return champion.feature_batch


def cut_off(key: str) -> None:
    """Take the last four bytes off a value."""
    redis.client().set(key, redis.client().get(key)[:-4])


def test_it_works(batch: FeatureBatch) -> None:
    matrix = store.matrix(batch.pk)

    assert (matrix.shape, matrix.dtype) == ((1309, 11), np.float32)
    assert batch.is_current
    assert store.current() == batch.pk


def test_a_single_look_up_gives_the_same_bits_as_the_matrix(batch: FeatureBatch) -> None:
    ids = ["1", "700", "1309"]

    rows = store.rows(batch.pk, ids)

    assert rows.tobytes() == store.matrix(batch.pk)[[0, 699, 1308]].tobytes()


def test_rows_stand_in_the_order_of_the_file(batch: FeatureBatch) -> None:
    ages = [age for (age,) in Passenger.objects.of(batch.dataset).values_list("age")]

    column = store.matrix(batch.pk)[:, FEATURES.index("Age")]

    np.testing.assert_array_equal(column, np.array(ages, dtype=np.float32))


def test_one_passenger_by_name(batch: FeatureBatch) -> None:
    features = services.of_passenger("1")

    assert (features["Age"], features["Title"], features["HasCabin"]) == (29, 1, 1)


def test_a_passenger_who_is_not_there_has_a_name_for_it(batch: FeatureBatch) -> None:
    with pytest.raises(store.MissingPassenger, match="nobody"):
        store.rows(batch.pk, ["1", "nobody"])


def test_a_truncated_value_is_no_wrong_number(batch: FeatureBatch) -> None:
    cut_off(f"{store.meta(batch.pk).key_prefix}:chunk:0")

    with pytest.raises(store.CorruptBatch):
        store.matrix(batch.pk)


def test_a_batch_of_another_definition_is_not_read(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "VERSION", "2")

    with pytest.raises(store.CorruptBatch):
        store.matrix(batch.pk)


def test_an_emptied_redis_heals_itself_to_the_same_checksum(batch: FeatureBatch) -> None:
    before = store.matrix(batch.pk)
    redis.client().flushall()

    after = services.matrix(batch)

    assert before.tobytes() == after.tobytes()
    assert store.meta(batch.pk).checksum == batch.checksum


def test_a_look_up_after_flushall_heals_too(batch: FeatureBatch) -> None:
    redis.client().flushall()

    assert services.of_passenger("1")["Age"] == 29


def test_changed_rows_do_not_pass_for_the_old_batch(batch: FeatureBatch) -> None:
    Passenger.objects.of(batch.dataset).filter(passenger_id="1").update(age=30)
    redis.client().flushall()

    with pytest.raises(TitanicError, match="cannot be rebuilt"):
        services.matrix(batch)


def test_a_new_batch_takes_over_in_one_step(batch: FeatureBatch) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    services.build(newer)

    assert store.current() == newer.pk
    assert list(FeatureBatch.objects.current()) == [newer]
    assert newer.checksum == batch.checksum


def test_a_build_that_fails_leaves_the_current_one(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    monkeypatch.setattr(store.Writer, "finish", lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        services.build(newer)

    assert store.current() == batch.pk
    newer.refresh_from_db()
    assert newer.state == State.FAILED


def test_old_t26_readers_never_see_half_a_batch(batch: FeatureBatch) -> None:
    before = store.matrix(batch.pk)
    for number in (batch.pk, batch.pk + 1):
        writer = store.Writer(number)
        writer.add(["1"], np.zeros((1, 11), dtype=np.float32))
        writer.finish()

    assert store.matrix(batch.pk).tobytes() == before.tobytes()
    with pytest.raises(store.MissingBatch):
        store.matrix(batch.pk + 1)
    with pytest.raises(store.MissingBatch):
        store.rows(batch.pk + 1, ["1"])


def test_without_a_batch_it_says_what_to_do(db: None) -> None:
    with pytest.raises(Conflict, match="build one first"):
        services.of_passenger("1")


def test_only_a_loaded_dataset_has_features(batch: FeatureBatch) -> None:
    dataset = batch.dataset.rerun()

    with pytest.raises(Conflict, match="ingest it first"):
        services.queue_build(dataset=dataset)


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Run them in threads of their own, and return what went wrong."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  the test tells of it
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def another(batch: FeatureBatch) -> FeatureBatch:
    """One more batch of the same dataset."""
    built = services.queue_build(dataset=batch.dataset)
    services.build(built)
    return built


def time_to_live(batch: FeatureBatch) -> set[int]:
    return {redis.client().ttl(key) for key in redis.client().scan_iter(f"features:{batch.pk}:*")}


IDS = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(some.lists(IDS, min_size=1, max_size=200, unique=True))
def test_whatever_the_ids_each_is_found_and_no_other(ids: list[str]) -> None:
    matrix = np.arange(len(ids) * 11, dtype=np.float32).reshape(-1, 11)
    segment = packing.Segment()
    segment.add(packing.join_ids(ids), matrix)
    buckets, shape = dict(segment.packed()), segment.shape

    found = [shape.find(buckets[shape.bucket(passenger_id)], passenger_id) for passenger_id in ids]

    assert b"".join(row for row in found if row) == matrix.tobytes()
    for stranger in {*(passenger_id + "x" for passenger_id in ids), "\ud800"} - set(ids):
        assert shape.find(buckets.get(shape.bucket(stranger), b""), stranger) is None


def test_a_long_id_is_not_taken_for_a_short_one_and_its_numbers() -> None:
    matrix = np.full((1, 11), 13.0, dtype=np.float32)
    matrix[0, 0] = np.frombuffer(b"abcd", dtype="<f4")[0]
    segment = packing.Segment()
    segment.add(packing.join_ids(["12345678"]), matrix)
    ((_bucket, packed),) = segment.packed()

    assert segment.shape.find(packed, "12345678") == matrix.tobytes()
    assert segment.shape.find(packed, "12345678abcd") is None


@pytest.mark.parametrize("ids", [["1", ""], ["", "1"], [""], ["1\0", "2"]])
def test_ids_that_could_be_mistaken_for_others_are_not_packed(ids: list[str]) -> None:
    with pytest.raises(packing.BadIds):
        packing.join_ids(ids)


def test_more_rows_than_a_hash_takes_are_spread_over_several(
    batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SEGMENT_ROWS", 400)
    ids, matrix = [str(number) for number in range(1309)], store.matrix(batch.pk)
    writer = store.Writer(77)
    for start in range(0, 1309, 100):
        writer.add(ids[start : start + 100], matrix[start : start + 100])
    store.publish(77, writer.finish())

    assert len(store.meta(77).segments) == 4
    assert store.rows(77, ids[::-1]).tobytes() == matrix[::-1].tobytes()
    with pytest.raises(store.MissingPassenger):
        store.rows(77, ["1309"])


def test_many_passengers_cost_one_round_trip(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    services.of_passenger("1")
    monkeypatch.setattr(store, "meta", lambda _: pytest.fail("asked for the meta again"))
    monkeypatch.setattr(store, "current", lambda: pytest.fail("asked for the pointer again"))

    found = services.of_passengers([str(number) for number in range(1, 500)])

    assert found.shape == (499, 11)


def test_a_bucket_that_was_cut_off_is_no_wrong_number(batch: FeatureBatch) -> None:
    about = store.meta(batch.pk)
    key = f"{about.key_prefix}:rows:0"
    for bucket, packed in redis.client().hgetall(key).items():
        redis.client().hset(key, bucket, packed[:-4])

    with pytest.raises(store.CorruptBatch):
        store.rows(batch.pk, ["1"])
    assert services.of_passenger("1")["Age"] == 29
    assert store.meta(batch.pk).key_prefix != about.key_prefix


def test_one_wrong_byte_is_seen_when_it_is_read_back(batch: FeatureBatch) -> None:
    about = store.meta(batch.pk)
    redis.client().setrange(f"{about.key_prefix}:chunk:0", 1000, b"\1")

    with pytest.raises(store.CorruptBatch):
        store.verify(about)


def test_a_build_that_reads_back_something_else_fails(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    verify = store.verify

    def spoil_and_verify(meta: store.Meta) -> None:
        redis.client().hset(meta.keys[-1], "0", b"\0" * (meta.segments[0].id_bytes + 44))
        verify(meta)

    monkeypatch.setattr(store, "verify", spoil_and_verify)

    with pytest.raises(store.CorruptBatch):
        services.build(newer)
    assert store.current() == batch.pk
    assert list(FeatureBatch.objects.current()) == [batch]


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"place": 1}', b'{"names": [], "chunk_count": 3}'])
def test_a_meta_of_an_earlier_version_is_healed(batch: FeatureBatch, text: bytes) -> None:
    about = store.meta(batch.pk)
    redis.client().set(f"features:{batch.pk}:meta", text)
    redis.client().set(f"features:{batch.pk}:chunk:0", b"x")

    services.repair()

    assert store.meta(batch.pk).checksum == about.checksum
    assert redis.client().ttl(f"features:{batch.pk}:chunk:0") > 0


def test_a_sample_is_the_same_for_the_same_seed(batch: FeatureBatch) -> None:
    matrix = store.matrix(batch.pk)
    drawn = services.sample(batch, count=200, seed=5)
    redis.client().flushall()

    again = services.sample(batch, count=200, seed=5)

    assert drawn.shape == (200, 11)
    assert drawn.tobytes() == again.tobytes()
    assert drawn.tobytes() != services.sample(batch, count=200, seed=6).tobytes()
    assert services.sample(batch, count=5000, seed=1).tobytes() == matrix.tobytes()


def test_a_sample_keeps_to_the_rows_it_may_draw_from(batch: FeatureBatch) -> None:
    matrix, among = store.matrix(batch.pk), np.array([3, 1308, 700])

    assert services.sample(batch, count=10, seed=1, among=among).tobytes() == matrix[[3, 700, 1308]].tobytes()


def test_a_reader_learns_of_a_switch_at_its_next_look_up(batch: FeatureBatch) -> None:
    assert services.of_passenger("1")["Age"] == 29
    Passenger.objects.of(batch.dataset).filter(passenger_id="1").update(age=30)

    another(batch)

    assert services.of_passenger("1")["Age"] == 30


def test_a_reader_finds_a_batch_that_was_written_anew_elsewhere(batch: FeatureBatch) -> None:
    services.of_passenger("1")
    redis.client().flushall()
    services.repair()

    assert services.of_passenger("1")["Age"] == 29
    assert store.rows(batch.pk, ["700"]).shape == (1, 11)


@pytest.mark.django_db(transaction=True)
def test_many_healers_at_once_do_no_harm(batch: FeatureBatch) -> None:
    before = store.matrix(batch.pk)
    redis.client().flushall()

    errors = at_once(*[services.repair] * 3, *[lambda: services.of_passenger("1")] * 3)

    assert errors == []
    assert store.matrix(batch.pk).tobytes() == before.tobytes()
    assert store.meta(batch.pk).checksum == batch.checksum
    assert time_to_live(batch) == {-1}
    assert store.current() == batch.pk


def test_healing_is_quiet_when_nothing_is_wrong(batch: FeatureBatch) -> None:
    before = store.meta(batch.pk).key_prefix

    tasks.repair()

    assert store.meta(batch.pk).key_prefix == before


@pytest.mark.parametrize("kind", ["chunk", "ids", "rows"])
def test_healing_sees_each_kind_of_key_that_is_gone(batch: FeatureBatch, kind: str) -> None:
    redis.client().unlink(f"{store.meta(batch.pk).key_prefix}:{kind}:0")

    services.repair()

    store.verify(store.meta(batch.pk))


@pytest.mark.django_db(transaction=True)
def test_two_builders_at_once_leave_one_current_batch(batch: FeatureBatch) -> None:
    builders = [services.queue_build(dataset=batch.dataset) for _ in range(3)]

    errors = at_once(*[lambda builder=builder: services.build(builder) for builder in builders])

    assert errors == []
    assert store.current() == FeatureBatch.objects.current().get().pk
    assert FeatureBatch.objects.succeeded().count() == 4


@pytest.mark.parametrize("step", ["Writer.finish", "publish"])
def test_killed_before_the_switch_the_old_one_stays(
    batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    monkeypatch.setattr(f"features.store.{step}", killed)

    with pytest.raises(SystemExit):
        services.build(newer)

    assert store.current() == batch.pk
    assert services.of_passenger("1")["Age"] == 29
    # What it had written goes by itself.
    assert all(seconds > 0 for seconds in time_to_live(newer))


def test_killed_between_postgres_and_redis_the_schedule_repairs_it(
    batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    with monkeypatch.context() as patched:
        patched.setattr(services, "sync_pointer", killed)
        with pytest.raises(SystemExit):
            services.build(newer)
    assert store.current() == batch.pk

    tasks.repair()

    newer.refresh_from_db()
    assert newer.state == State.SUCCEEDED
    assert store.current() == newer.pk == FeatureBatch.objects.current().get().pk


def killed(*args: object, **kwargs: object) -> None:
    raise SystemExit


def test_retention_keeps_the_current_one_those_in_use_and_the_newest(batch: FeatureBatch, settings: Any) -> None:
    settings.FEATURE_BATCHES_KEPT = 2
    older, *newest = [another(batch) for _ in range(4)]

    expired = pipeline.expire_features()

    # The champion stands on the first.
    assert expired == [newest[0], older]
    assert [min(time_to_live(kept)) for kept in (batch, *newest[1:])] == [-1, -1, -1]
    assert min(time_to_live(older)) > 0
    assert pipeline.expire_features() == []


def test_an_expired_batch_is_rebuilt_for_who_reads_it(batch: FeatureBatch, settings: Any) -> None:
    settings.FEATURE_BATCHES_KEPT = 1
    newer = another(batch)
    retention.expire_old(in_use=[])
    redis.client().unlink(*redis.client().keys(f"features:{batch.pk}:*"))
    batch.refresh_from_db()
    assert batch.expired_at is not None

    rebuilt = services.matrix(batch)

    batch.refresh_from_db()
    assert rebuilt.tobytes() == store.matrix(newer.pk).tobytes()
    assert batch.expired_at is None


@pytest.mark.django_db(transaction=True)
def test_a_batch_may_expire_while_it_is_read(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "GRACE_SECONDS", 1)
    before, over = store.matrix(batch.pk).tobytes(), threading.Event()

    def read() -> None:
        while not over.is_set():
            assert services.matrix(batch).tobytes() == before
            assert services.rows(batch, ["1"]).tobytes() == before[:44]

    def expire() -> None:
        for _ in range(3):
            store.expire(batch.pk)
            over.wait(1.2)
        over.set()

    assert at_once(read, read, expire) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(120)
def test_predictions_go_on_while_redis_is_emptied(
    batch: FeatureBatch, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, statuses, ages = threading.Event(), [], []
    token = vars(api)["_credentials"]

    def predict() -> None:
        client = APIClient()
        client.credentials(**token)
        while not over.is_set():
            statuses.append(client.post("/api/v1/predictions/", CAST[0], format="json").status_code)

    def look_up() -> None:
        while not over.is_set():
            ages.append(services.of_passenger("1")["Age"])

    def empty() -> None:
        for _ in range(3):
            over.wait(0.7)
            redis.client().flushall()
        over.wait(0.7)
        over.set()

    errors = at_once(predict, predict, look_up, look_up, empty)

    assert errors == []
    assert set(statuses) == {201}
    assert set(ages) == {29}
    assert store.meta(batch.pk).checksum == batch.checksum
    store.verify(store.meta(batch.pk))


@pytest.mark.parametrize(
    "passenger_id",
    [
        "nobody",
        "%00",
        "1%00",
        "%001",
        "1%0A",
        "Ünï",
        "%F0%9F%9A%A2",
        "%ED%A0%80",
        "%FF",
        "x" * 10_000,
        " ",
        "1%20",
        "01",
    ],
)
def test_hostile_ids_are_nobodys(batch: FeatureBatch, api: APIClient, passenger_id: str) -> None:
    for _ in range(2):
        response = api.get(f"/api/v1/features/{passenger_id}/")

        assert response.status_code == 404
        assert response.json()["errors"][0]["code"] == "not_found"
