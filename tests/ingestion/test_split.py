"""The hold-out."""

import numpy as np

from ingestion.split import buckets_of, draw


def people(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random(count) < 0.4, buckets_of(b"ticket %d" % number for number in rng.integers(0, count // 2, count))


def test_nobody_is_parted_from_those_on_the_same_ticket() -> None:
    labels, tickets = people(2000)

    held = draw(labels, tickets)

    inside = {ticket for ticket, is_held in zip(tickets, held, strict=True) if is_held}
    outside = {ticket for ticket, is_held in zip(tickets, held, strict=True) if not is_held}
    assert not inside & outside


def test_it_is_stratified() -> None:
    labels, tickets = people(2000)

    held = draw(labels, tickets)

    assert abs(held.mean() - 0.2) < 0.01
    assert abs(labels[held].mean() - labels[~held].mean()) < 0.02


def test_old_s9_the_order_of_the_rows_does_not_matter() -> None:
    labels, tickets = people(500)
    order = np.random.default_rng(3).permutation(500)

    held = draw(labels, tickets)
    shuffled = draw(labels[order], tickets[order])

    assert (held[order] == shuffled).all()


def test_another_seed_holds_out_others() -> None:
    labels, tickets = people(500)

    assert (draw(labels, tickets) != draw(labels, tickets, seed=2)).any()
