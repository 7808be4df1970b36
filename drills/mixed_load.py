"""Everything that clients do with the product, at once and at a gentle pace, for as long as one likes."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import httpx

from benchmarks import passengers
from drills.product import SAMPLE, Product
from drills.traffic import CLIENT_SECONDS, concurrently

BATCH_ROWS = 100
FILE_ROWS = 2_000
#: A job that takes longer has not ended well.
JOB_SECONDS = 600
KEPT_DATASETS = 3
_ENDED = ("succeeded", "failed", "cancelled")
_PAGES = (
    "/", "/overview/", "/predictions/", "/runs/", "/datasets/", "/models/", "/monitoring/", "/monitoring/drift/",
    "/metrics",
)  # fmt: skip


class UnexpectedError(Exception):
    """An answer other than it should be."""


@dataclass
class MixedLoad:
    """Clients of one product: what they did, how often, what went wrong, and which predictions were acknowledged."""

    product: Product
    folder: Path
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Open a client of the API, and sign one in at the pages."""
        self._people = passengers.people()
        self._api = httpx.Client(
            base_url=self.product.url, timeout=CLIENT_SECONDS, trust_env=False,
            headers={"Authorization": f"Token {self.product.token}"},
        )  # fmt: skip
        self._pages = httpx.Client(base_url=self.product.url, timeout=CLIENT_SECONDS, trust_env=False)
        credentials = json.loads((self.product.home / "credentials.json").read_text())
        self._pages.get("/accounts/login/")
        self._post_page("/accounts/login/", username=credentials["username"], password=credentials["password"])
        self._file = passengers.make(self.folder / "people.csv", row_count=FILE_ROWS)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on while the body runs; then what was begun ends."""
        activities: list[tuple[str, float, Callable[[], None]]] = [
            *[("prediction", 0.4, self.predict)] * 4,
            ("prediction with a key, sent twice", 2.0, self.predict_twice),
            (f"batch of {BATCH_ROWS}", 5.0, self.predict_batch),
            ("page", 1.0, self.open_page),
            (f"file of {FILE_ROWS:,} rows scored", 60.0, self.score_file),
            ("dataset ingested, features built, model trained", 300.0, self.train),
            ("drift check", 120.0, self.check_drift),
        ]
        with concurrently((partial(self._repeat, *activity) for activity in activities), is_over=self._is_over):
            yield

    def predict(self) -> None:
        """Send one passenger."""
        self.acknowledged.add(self._post("predictions/", json=self._person())["id"])

    def predict_twice(self) -> None:
        """Send one passenger twice under one key: one prediction."""
        key, person = f"soak-{next(self._numbers)}", self._person()
        first, second = (
            self._post("predictions/", json=person, headers={"Idempotency-Key": key})["id"] for _ in range(2)
        )
        if first != second:
            raise UnexpectedError("two predictions under one key")
        self.acknowledged.add(first)

    def predict_batch(self) -> None:
        """Send a batch, and what really happened to some of it."""
        people = [self._person() for _ in range(BATCH_ROWS)]
        answers = cast(
            "list[dict[str, str]]", self._post("predictions/batch/", json={"instances": people})["predictions"]
        )
        ids = [answer["id"] for answer in answers]
        self.acknowledged.update(ids)
        self._post("outcomes/", json=[{"prediction_id": one, "survived": True} for one in ids[:5]])

    def open_page(self) -> None:
        """Open one page after the other."""
        path = _PAGES[next(self._numbers) % len(_PAGES)]
        if (answer := self._pages.get(path)).status_code != httpx.codes.OK:
            raise UnexpectedError(f"{answer.status_code} {path}")

    def score_file(self) -> None:
        """Have a file scored and fetch the results."""
        job = self._finish(self._post("scoring-jobs/", files={"file": ("people.csv", self._file.read_bytes())}))
        results = self._api.get(f"/api/v1/scoring-jobs/{job['id']}/results.csv")
        if len(results.text.splitlines()) != FILE_ROWS + 1:
            raise UnexpectedError("results are not complete")

    def train(self) -> None:
        """Take a new table all the way to a model, and archive the oldest tables."""
        # A table that is there already would not be loaded again.
        text = SAMPLE.read_text().replace("Mr.", f"Mr. {next(self._numbers)}", 1)
        dataset = self._finish(self._post("datasets/", files={"file": ("table.csv", text)}))
        batch = self._finish(self._post("feature-batches/", json={"dataset": dataset["id"]}))
        algorithm = ("random_forest", "logistic_regression")[dataset["id"] % 2]
        self._finish(
            self._post("training-runs/", json={"feature_batch": batch["id"], "algorithm": algorithm, "candidates": 3})
        )
        for old in self._get("datasets/?page_size=100")["results"][KEPT_DATASETS:]:
            # One that a model in use needs stays.
            self._post_page(f"/datasets/{old['id']}/archive/")

    def check_drift(self) -> None:
        """Have drift checked, unless a check of the schedule runs."""
        answer = self._api.post("/api/v1/drift-checks/")
        if answer.status_code != httpx.codes.CONFLICT:
            self._finish(self._checked(answer))

    def _repeat(self, name: str, pause: float, do: Callable[[], None]) -> None:
        while not self._is_over.wait(pause):
            try:
                do()
            except (httpx.TransportError, UnexpectedError) as error:
                self.errors[f"{name}: {type(error).__name__} {error}"] += 1
            else:
                self.done[name] += 1

    def _person(self) -> dict[str, object]:
        return dict(self._people[next(self._numbers) % len(self._people)])

    def _get(self, path: str) -> dict[str, object]:
        return self._checked(self._api.get(f"/api/v1/{path}"))

    def _post(self, path: str, **content: object) -> dict[str, object]:
        return self._checked(self._api.post(f"/api/v1/{path}", **content))

    def _checked(self, answer: httpx.Response) -> dict[str, object]:
        if not answer.is_success:
            raise UnexpectedError(f"{answer.status_code} {answer.request.url.path} {answer.text[:200]}")
        return {"address": answer.headers.get("Location"), **answer.json()}

    def _finish(self, job: dict[str, object]) -> dict[str, object]:
        """Wait until a job has ended."""
        end = time.monotonic() + JOB_SECONDS
        address = job["address"]
        while (job := self._checked(self._api.get(address)))["state"] not in _ENDED:
            if time.monotonic() > end:
                raise UnexpectedError(f"{address} has not ended")
            time.sleep(1)
        if job["state"] != "succeeded":
            raise UnexpectedError(f"{address} {job['state']}: {job['error']}")
        return job

    def _post_page(self, path: str, **form: str) -> None:
        token = self._pages.cookies["csrftoken"]
        self._pages.post(path, data={"csrfmiddlewaretoken": token, **form}, headers={"Referer": self.product.url})
