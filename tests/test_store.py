"""The feature store: whole batches, single rows, and what happens when Redis loses them."""

import numpy as np
import pytest

from features import services, store
from features.definition import FEATURES
from features.models import FeatureBatch
from ingestion.models import Passenger
from titanic_site.lib import redis
from titanic_site.lib.errors import Conflict, TitanicError
from titanic_site.lib.jobs import State
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
    cut_off(f"{store.meta(batch.pk).place}:chunk:0")

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


def test_without_a_batch_it_says_what_to_do(transactional_db: None) -> None:
    with pytest.raises(Conflict, match="build one first"):
        services.of_passenger("1")


def test_only_a_loaded_dataset_has_features(batch: FeatureBatch) -> None:
    dataset = batch.dataset.successor()

    with pytest.raises(Conflict, match="ingest it first"):
        services.queue_build(dataset=dataset)
