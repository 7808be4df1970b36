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
from features import services, store, tasks
from features.definition import FEATURES, VERSION
from features.models import FeatureBatch
from ingestion.models import Passenger
from tests.people import CAST
from titanic_site import pipeline
from training.models import ModelVersion

ROW_BYTES = 4 * len(FEATURES)


@pytest.fixture
def batch(champion: ModelVersion) -> FeatureBatch:
    return champion.feature_batch


def test_it_works(batch: FeatureBatch) -> None:
    matrix = batch.stored.matrix()

    assert (matrix.shape, matrix.dtype) == ((1309, len(FEATURES)), np.float32)
    assert batch.is_current
    assert batch.definition_version == VERSION


def test_a_look_up_gives_the_same_bits_as_the_matrix(batch: FeatureBatch) -> None:
    rows = [batch.stored.row(passenger_id).tobytes() for passenger_id in ("1", "700", "1309")]

    assert b"".join(rows) == batch.stored.matrix()[[0, 699, 1308]].tobytes()


def test_rows_stand_in_the_order_of_the_file(batch: FeatureBatch) -> None:
    ages = [age for (age,) in Passenger.objects.of(batch.dataset).values_list("age")]

    column = batch.stored.matrix()[:, FEATURES.index("Age")]

    np.testing.assert_array_equal(column, np.array(ages, dtype=np.float32))


def test_one_passenger_by_name(batch: FeatureBatch) -> None:
    passenger = services.look_up("1")

    features = passenger.features
    assert passenger.batch == batch
    assert (features["Age"], features["Title"], features["HasCabin"]) == (29, 1, 1)


def test_a_passenger_who_is_not_in_the_batch_is_named(batch: FeatureBatch) -> None:
    with pytest.raises(store.MissingPassenger, match="nobody"):
        batch.stored.row("nobody")


def test_the_api_tells_which_batch_dataset_and_time_the_features_are_from(batch: FeatureBatch, api: APIClient) -> None:
    before = api.get("/api/v1/features/1/").json()

    newer = another(batch)

    after = api.get("/api/v1/features/1/").json()
    listed = api.get(f"/api/v1/feature-batches/{newer.pk}/").json()
    assert (before["batch"], before["dataset"]) == (batch.pk, batch.dataset_id)
    assert (after["batch"], after["dataset"]) == (newer.pk, newer.dataset_id)
    assert after["created_at"] == listed["created_at"]
    assert after["Age"] == before["Age"] == 29


@pytest.mark.parametrize("index", [0, 1])
def test_a_chunk_that_was_cut_off_is_no_wrong_number(batch: FeatureBatch, index: int) -> None:
    spoil_chunk(batch, index, lambda part: part[:-4])

    with pytest.raises(store.CorruptBatch):
        batch.stored.matrix()


@pytest.mark.parametrize("index", [0, 1])
def test_one_wrong_byte_is_seen_when_a_batch_is_read(batch: FeatureBatch, index: int) -> None:
    before = batch.stored.matrix()
    spoil_chunk(batch, index, lambda part: part[:-1] + bytes([part[-1] ^ 1]))

    with pytest.raises(store.CorruptBatch):
        batch.stored.matrix()
    with pytest.raises(store.CorruptBatch):
        batch.stored.verify()
    assert services.matrix(batch).tobytes() == before.tobytes()


@pytest.mark.parametrize("row", [b"", b"x" * (ROW_BYTES - 4), b"x" * (ROW_BYTES + 4)])
def test_a_row_that_was_cut_off_is_no_wrong_number(batch: FeatureBatch, row: bytes) -> None:
    redis.client().hset(batch.stored.keys[1], "1", row)

    with pytest.raises(store.CorruptBatch):
        batch.stored.row("1")
    assert services.look_up("1").features["Age"] == 29
    batch.stored.verify()


def spoil_chunk(batch: FeatureBatch, index: int, change: Callable[[bytes], bytes]) -> None:
    """Change the first chunk's ids (0) or rows (1)."""
    key = batch.stored.keys[0]
    redis.client().lset(key, index, change(redis.client().lindex(key, index)))


def test_a_batch_of_another_definition_is_not_read(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "VERSION", "2")

    with pytest.raises(store.MissingBatch):
        batch.stored.matrix()
    with pytest.raises(store.MissingBatch):
        batch.stored.row("1")
    with pytest.raises(TitanicError, match="cannot be rebuilt"):
        services.look_up("1")


def test_an_emptied_redis_is_repaired_to_the_same_checksum(batch: FeatureBatch) -> None:
    before = batch.stored.matrix()
    redis.client().flushall()

    after = services.matrix(batch)

    assert before.tobytes() == after.tobytes()
    batch.stored.verify()


def test_a_look_up_after_flushall_repairs_too(batch: FeatureBatch) -> None:
    redis.client().flushall()

    assert services.look_up("1").features["Age"] == 29


def test_changed_rows_do_not_pass_for_the_old_batch(batch: FeatureBatch) -> None:
    Passenger.objects.of(batch.dataset).filter(passenger_id="1").update(age=30)
    redis.client().flushall()

    with pytest.raises(TitanicError, match="cannot be rebuilt"):
        services.matrix(batch)


def test_a_new_batch_takes_over_in_one_step(batch: FeatureBatch) -> None:
    newer = another(batch)

    assert list(FeatureBatch.objects.current()) == [newer]
    assert newer.checksum == batch.checksum


def test_a_build_that_fails_leaves_the_current_one(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    monkeypatch.setattr(store.Writer, "publish", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        services.build(newer)

    assert list(FeatureBatch.objects.current()) == [batch]
    newer.refresh_from_db()
    assert newer.state == State.FAILED


def test_old_t26_readers_never_see_half_a_batch(batch: FeatureBatch) -> None:
    writer = store.Writer()
    writer.add(["1"], np.zeros((1, len(FEATURES)), dtype=np.float32))
    unpublished = store.StoredBatch.of(batch.pk + 1, checksum=writer.draft.checksum)

    with pytest.raises(store.MissingBatch):
        unpublished.matrix()
    with pytest.raises(store.MissingBatch):
        unpublished.row("1")
    published = writer.publish(batch.pk + 1)
    assert published == unpublished
    assert unpublished.matrix().shape == (1, len(FEATURES))


def test_without_a_batch_it_says_what_to_do(db: None) -> None:
    with pytest.raises(Conflict, match="build one first"):
        services.look_up("1")


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
        except BaseException as error:  # noqa: BLE001 - the test tells of it
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


def seconds_to_live(batch: FeatureBatch) -> set[int]:
    """The time to live of each of its keys; -1 is for ever, -2 is a missing key."""
    return {redis.client().ttl(key) for key in batch.stored.keys}


IDS = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(some.lists(IDS, min_size=1, max_size=200, unique=True))
def test_whatever_the_ids_each_is_found_and_no_other(ids: list[str]) -> None:
    matrix = np.arange(len(ids) * len(FEATURES), dtype=np.float32).reshape(-1, len(FEATURES))
    writer = store.Writer()
    for start in range(0, len(ids), 50):
        writer.add(ids[start : start + 50], matrix[start : start + 50])

    writer.draft.verify()

    assert b"".join(writer.draft.row(passenger_id).tobytes() for passenger_id in ids) == matrix.tobytes()
    assert writer.draft.matrix().tobytes() == matrix.tobytes()
    for stranger in {passenger_id + "x" for passenger_id in ids} - set(ids):
        with pytest.raises(store.MissingPassenger):
            writer.draft.row(stranger)


def test_an_id_that_would_be_taken_for_two_is_not_published(batch: FeatureBatch) -> None:
    writer = store.Writer()
    writer.add(["1\0", "2"], np.zeros((2, len(FEATURES)), dtype=np.float32))

    with pytest.raises(store.CorruptBatch):
        writer.draft.verify()


def test_a_build_that_reads_back_something_else_fails(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    verify = store.StoredBatch.verify

    def spoil_and_verify(stored: store.StoredBatch) -> None:
        redis.client().hset(stored.keys[1], "1", b"\0" * ROW_BYTES)
        verify(stored)

    monkeypatch.setattr(store.StoredBatch, "verify", spoil_and_verify)

    with pytest.raises(store.CorruptBatch):
        services.build(newer)
    assert list(FeatureBatch.objects.current()) == [batch]


def test_a_row_too_many_is_seen_when_it_is_read_back(batch: FeatureBatch) -> None:
    redis.client().hset(batch.stored.keys[1], "nobody", b"\0" * ROW_BYTES)

    with pytest.raises(store.CorruptBatch, match="more rows"):
        batch.stored.verify()


def test_a_reader_learns_of_a_new_batch_at_its_next_look_up(batch: FeatureBatch) -> None:
    assert services.look_up("1").features["Age"] == 29
    Passenger.objects.of(batch.dataset).filter(passenger_id="1").update(age=30)

    another(batch)

    assert services.look_up("1").features["Age"] == 30


@pytest.mark.django_db(transaction=True)
def test_many_repairs_at_once_do_no_harm(batch: FeatureBatch) -> None:
    before = batch.stored.matrix()
    redis.client().flushall()

    errors = at_once(*[services.repair] * 3, *[lambda: services.look_up("1")] * 3)

    assert errors == []
    assert batch.stored.matrix().tobytes() == before.tobytes()
    assert seconds_to_live(batch) == {-1}


def test_repair_leaves_alone_what_is_whole(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "restore", lambda _: pytest.fail("rebuilt it"))

    tasks.repair()


@pytest.mark.parametrize("index", [0, 1])
def test_repair_sees_each_key_that_is_gone(batch: FeatureBatch, index: int) -> None:
    redis.client().unlink(batch.stored.keys[index])

    services.repair()

    batch.stored.verify()


@pytest.mark.django_db(transaction=True)
def test_two_builders_at_once_leave_one_current_batch(batch: FeatureBatch) -> None:
    builders = [services.queue_build(dataset=batch.dataset) for _ in range(3)]

    errors = at_once(*[lambda builder=builder: services.build(builder) for builder in builders])

    assert errors == []
    assert FeatureBatch.objects.current().get() in builders
    assert FeatureBatch.objects.succeeded().count() == 4


@pytest.mark.parametrize("step", ["StoredBatch.verify", "Writer.publish"])
def test_killed_before_it_is_published_the_old_one_stays(
    batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    redis.client().unlink("features:draft", *redis.client().keys("features:draft:*"))
    monkeypatch.setattr(f"features.store.{step}", killed)

    with pytest.raises(SystemExit):
        services.build(newer)

    assert FeatureBatch.objects.current().get() == batch
    assert services.look_up("1").features["Age"] == 29
    drafts = [redis.client().ttl(key) for key in redis.client().scan_iter("features:draft:*")]
    assert len(drafts) == 2
    assert min(drafts) > 0


def test_killed_after_it_is_published_it_expires_with_the_old_batches(
    batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = services.queue_build(dataset=batch.dataset)
    monkeypatch.setattr(FeatureBatch, "complete", killed)
    with pytest.raises(SystemExit):
        services.build(newer)
    newer.refresh_from_db()
    assert seconds_to_live(newer) == {-1}

    expired = services.expire_old(in_use=[])

    assert expired == [newer]
    assert FeatureBatch.objects.current().get() == batch
    assert min(seconds_to_live(newer)) > 0


def killed(*args: object, **kwargs: object) -> None:
    raise SystemExit


def test_retention_keeps_the_current_one_those_in_use_and_the_newest(batch: FeatureBatch, settings: Any) -> None:
    settings.FEATURE_BATCHES_KEPT = 2
    older, *newest = [another(batch) for _ in range(4)]

    expired = pipeline.expire_features()

    # The champion was trained on the first.
    assert expired == [newest[0], older]
    assert [min(seconds_to_live(remaining)) for remaining in (batch, *newest[1:])] == [-1, -1, -1]
    assert min(seconds_to_live(older)) > 0
    assert pipeline.expire_features() == []


def test_an_expired_batch_is_rebuilt_when_it_is_read(batch: FeatureBatch, settings: Any) -> None:
    settings.FEATURE_BATCHES_KEPT = 1
    newer = another(batch)
    services.expire_old(in_use=[])
    redis.client().unlink(*batch.stored.keys)
    batch.refresh_from_db()
    assert batch.expired_at is not None

    rebuilt = services.matrix(batch)

    batch.refresh_from_db()
    assert rebuilt.tobytes() == newer.stored.matrix().tobytes()
    assert batch.expired_at is None


@pytest.mark.django_db(transaction=True)
def test_a_batch_may_expire_while_it_is_read(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "GRACE_SECONDS", 1)
    before, over = batch.stored.matrix().tobytes(), threading.Event()

    def read() -> None:
        while not over.is_set():
            assert services.matrix(batch).tobytes() == before
            assert services.look_up("1").features["Age"] == 29

    def expire() -> None:
        for _ in range(3):
            batch.stored.expire()
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
            ages.append(services.look_up("1").features["Age"])

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
    batch.stored.verify()


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
