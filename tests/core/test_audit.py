"""The audit trail: each change and sign-in leaves an entry that says who, from where and what, and stays."""

import csv
import getpass
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from core import audit
from core.models import Action, AuditEntry
from features.models import FeatureBatch
from ingestion import sources
from ingestion.models import Dataset, Source
from ingestion.passenger import LABEL
from monitoring import tasks as monitoring_tasks
from monitoring.models import DriftCheck
from predictions.models import ScoringJob
from tests.people import ELISABETH, JAMES, OWEN, table
from tests.users import make_user
from titanic_site import retention, schedules
from titanic_site.models import AccessToken
from training import registry
from training.models import ModelVersion, TrainingRun

Load = Callable[..., Dataset]
Entries = Callable[[], QuerySet[AuditEntry]]
GUID = "0123456789abcdef0123456789abcdef"

#: The admin's theme has its own ways with variables.
in_the_admin = pytest.mark.ignore_template_errors


@pytest.fixture
def captain(db: None, settings: Any) -> User:
    # The usual one takes a third of a second for each password.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("captain", password="iceberg-ahead")


@pytest.fixture
def client(captain: User) -> Client:
    client = Client(headers={"X-Request-ID": GUID})
    client.force_login(captain)
    return client


@pytest.fixture
def entries(db: None) -> Entries:
    """What was recorded since the test began, oldest first."""
    newest = AuditEntry.objects.first()
    return lambda: AuditEntry.objects.filter(pk__gt=newest.pk if newest else 0).order_by("pk")


class TestActor:
    """One change, the promotion of a version, through each channel."""

    @pytest.fixture
    def version(self, champion: ModelVersion) -> ModelVersion:
        run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
        copy = ModelVersion.objects.get(pk=champion.pk)
        copy.pk, copy.version, copy.stage, copy.run = None, 2, "candidate", run
        copy.save()
        return copy

    def promoted(self, entries: Entries, version: ModelVersion) -> AuditEntry:
        entry = entries().get(action=Action.PROMOTED)
        assert (entry.object_kind, entry.object_id, entry.object_name) == ("model version", str(version.pk), "Model 2")
        assert (entry.object_url, entry.before["stage"], entry.after["stage"]) == (
            "/models/2/", "candidate", "champion",
        )  # fmt: skip
        return entry

    def test_page(self, version: ModelVersion, client: Client, entries: Entries) -> None:
        client.post("/models/2/promote/", {"reason": "better"}, REMOTE_ADDR="192.0.2.7")

        entry = self.promoted(entries, version)
        assert (entry.actor_kind, entry.actor, entry.token) == ("user", "captain", "")
        assert (entry.address, entry.request_id, entry.after["reason"]) == ("192.0.2.7", GUID, "better")

    @in_the_admin
    def test_admin_action(self, version: ModelVersion, client: Client, entries: Entries) -> None:
        asked = client.post("/admin/training/modelversion/", {"action": "promote", "_selected_action": [version.pk]})
        client.post(asked["Location"], {"reason": "better"})

        assert self.promoted(entries, version).actor == "captain"

    def test_token(self, version: ModelVersion, entries: Entries) -> None:
        row, token = AccessToken.objects.create(make_user("mate"))
        client = Client(headers={"Authorization": f"Token {token}", "X-Request-ID": GUID})

        # The second time the token comes from the cache.
        client.post("/api/v1/drift-checks/", {}, content_type="application/json")
        assert client.post("/api/v1/models/2/promote/", {}, content_type="application/json").status_code == 200

        for entry in (entries().get(action=Action.QUEUED), self.promoted(entries, version)):
            assert (entry.actor_kind, entry.actor, entry.token) == ("token", "mate", row.token_key)
            assert (entry.address, entry.request_id) == ("127.0.0.1", GUID)

    def test_command(self, version: ModelVersion, entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "ann")
        call_command("promote", 2)

        entry = self.promoted(entries, version)
        assert (entry.actor_kind, entry.actor, entry.address) == ("command", "ann", "")

    def test_nobody_in_particular(self, version: ModelVersion, entries: Entries, settings: Any) -> None:
        settings.LOGIN_REQUIRED = False
        Client().post("/models/2/promote/")

        entry = self.promoted(entries, version)
        assert (entry.actor_kind, entry.actor, entry.address) == ("anonymous", "", "127.0.0.1")

    def test_task(self, champion: ModelVersion, entries: Entries) -> None:
        monitoring_tasks.scheduled_check.apply()

        entry = entries().get(action=Action.QUEUED)
        assert (entry.actor_kind, entry.actor) == ("task", "monitoring.tasks.scheduled_check")

    def test_a_user_without_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> str:
            raise KeyError("uid not found")

        monkeypatch.setattr(getpass, "getuser", fail)
        assert audit.current_actor()["actor"].isdigit()


@pytest.mark.parametrize("guid", [f"urn:uuid:{UUID(GUID)}", f"{{{UUID(GUID)}}}", str(UUID(GUID)).upper(), GUID])
def test_a_request_id_is_kept_however_it_is_written(captain: User, entries: Entries, guid: str) -> None:
    client = Client(headers={"X-Request-ID": guid})
    client.force_login(captain)
    client.post("/datasets/ingest/")

    assert entries().get(action="queued").request_id == GUID
    assert Dataset.objects.get().request_id == GUID


def test_every_step_of_a_models_life_is_recorded(client: Client, champion: ModelVersion, entries: Entries) -> None:
    batch, upload = champion.feature_batch, table(ELISABETH, {**OWEN, "age": 200}, JAMES)
    Dataset.objects.filter(pk=batch.dataset_id).update(largest_problem_share=0.5)
    client.post("/datasets/ingest/", {"file": SimpleUploadedFile("t.csv", upload.encode())})
    client.post("/datasets/ingest/", {"uri": "https://example.org/t.csv"})
    client.post("/datasets/ingest/")
    client.post("/features/build/", {"dataset": batch.dataset_id})
    client.post("/models/train/", {"seed": 7})
    client.post("/models/1/reproduce/")
    client.post("/monitoring/drift/check/")
    client.post("/scoring/start/", {"file": SimpleUploadedFile("p.csv", table(OWEN).encode())})
    for kind in (Dataset, FeatureBatch, TrainingRun, DriftCheck, ScoringJob):
        job: Any = kind.objects.first()
        client.post(f"/runs/{job._meta.model_name}/{job.pk}/cancel/")
        client.post(f"/runs/{job._meta.model_name}/{job.pk}/again/")
        job.refresh_from_db()
        assert job.request_id == GUID

    steps = [(entry.action, entry.object_kind) for entry in entries()]
    jobs = ["dataset", "feature batch", "training run", "drift check", "scoring job"]
    assert steps == [
        *[("queued", "dataset")] * 3, ("queued", "feature batch"), ("queued", "training run"),
        ("queued", "reproduction"), ("queued", "drift check"), ("queued", "scoring job"),
        *[step for kind in jobs for step in (("cancelled", kind), ("repeated", kind))],
    ]  # fmt: skip
    assert {(entry.actor, entry.request_id) for entry in entries()} == {("captain", GUID)}
    trained = entries().get(action="queued", object_kind="training run")
    assert (trained.after["seed"], trained.after["feature_batch"]) == (7, str(batch))
    assert entries().filter(action="cancelled").first().before == {"state": "queued"}


def test_corrections_and_archives_are_recorded(client: Client, load: Load, entries: Entries) -> None:
    dataset = load(table({**OWEN, "age": 200}, ELISABETH, {**JAMES, "age": 300}), largest_problem_share=0.9)
    cells = {name: value for name, value in OWEN.items() if value is not None}

    client.post(f"/datasets/{dataset.pk}/lines/2/", {**cells, LABEL: "0", "age": "22"})
    file = SimpleUploadedFile("c.csv", f"line,pclass,sex,{LABEL}\n4,3,male,0\n".encode())
    client.post(f"/datasets/{dataset.pk}/correct/", {"file": file})
    client.post(f"/datasets/{dataset.pk}/archive/")

    row, rows, archived = entries().exclude(action="queued")
    assert (row.action, row.before["age"], row.after["age"], row.after["line"]) == ("corrected", "200", "22", 2)
    assert (rows.action, rows.after) == ("corrected", {"accepted rows": 1})
    assert (archived.action, archived.before, archived.object_url) == (
        "archived", {"rows": 3}, f"/datasets/{dataset.pk}/",
    )  # fmt: skip


def test_stages_are_recorded(champion: ModelVersion, entries: Entries) -> None:
    for stage in ("candidate", "retired", "candidate"):
        ModelVersion.objects.filter(pk=champion.pk).update(stage=stage)
        move = registry.retire if stage == "candidate" else registry.start_shadow
        move(champion, by=None)

    assert [entry.action for entry in entries()] == ["retired", "shadow_started", "retired"]


def test_outcomes_are_recorded(client: Client, champion: ModelVersion, entries: Entries) -> None:
    token = AccessToken.objects.create(User.objects.get(username="captain"))[1]
    api = Client(headers={"Authorization": f"Token {token}"})
    first, second = (
        api.post("/api/v1/predictions/", OWEN, content_type="application/json").json()["id"] for _number in range(2)
    )

    for _time in range(2):
        api.post(f"/api/v1/predictions/{first}/outcome/", {LABEL: True}, content_type="application/json")
        file = SimpleUploadedFile("o.csv", f"prediction_id,{LABEL}\n{second},0\n{uuid4()},1\n".encode())
        client.post("/predictions/outcomes/", {"file": file})

    one, many = entries()
    assert (one.action, one.object_id, one.after) == ("outcome_recorded", first, {"actual": True})
    assert (many.action, many.after) == ("outcome_recorded", {"count": 1})


class TestSignIn:
    """Signing in and out, and failing to."""

    def test_it_works(self, captain: User, entries: Entries) -> None:
        client = Client(REMOTE_ADDR="192.0.2.7")
        client.post("/accounts/login/", {"username": "captain", "password": "iceberg-ahead"})
        client.post("/accounts/logout/")

        signed_in, signed_out = entries()
        assert (signed_in.action, signed_in.actor, signed_in.object_name) == ("signed_in", "captain", "captain")
        assert (signed_out.action, signed_out.actor, signed_out.address) == ("signed_out", "captain", "192.0.2.7")

    @in_the_admin
    @pytest.mark.parametrize("page", ["/accounts/login/", "/admin/login/"])
    @pytest.mark.parametrize("name", ["captain", "nobody", "=1+1", "n" * 150, "ñ\u202e"])
    def test_it_fails(self, captain: User, entries: Entries, page: str, name: str) -> None:
        Client().post(page, {"username": name, "password": "wrong-secret"})

        entry = entries().get()
        assert (entry.action, entry.actor_kind, entry.object_name) == ("sign_in_failed", "anonymous", name)
        assert "wrong-secret" not in str(vars(entry))

    def test_a_proxys_nonsense_is_no_error(self, captain: User, entries: Entries) -> None:
        Client(REMOTE_ADDR="x" * 1000).post("/accounts/login/", {"username": "captain", "password": "wrong"})

        assert entries().get().address == "x" * 45

    def test_who_is_not_signed_in_signs_out(self, entries: Entries) -> None:
        Client().post("/accounts/logout/")

        assert not entries().exists()


@in_the_admin
class TestAdmin:
    """Users, roles, tokens, schedules and sources."""

    def test_users(self, client: Client, entries: Entries) -> None:
        password = {"password1": "unsinkable-1912", "password2": "unsinkable-1912"}
        added = {"username": "mate", "usable_password": "true", **password}
        client.post("/admin/auth/user/add/", added)
        mate = User.objects.get(username="mate")
        operator = Group.objects.get(name="operator")
        joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        client.post(f"/admin/auth/user/{mate.pk}/change/", {"username": "mate", "groups": [operator.pk], **joined})
        client.post(f"/admin/auth/user/{mate.pk}/password/", {"usable_password": "true", **password})
        client.post(f"/admin/auth/user/{mate.pk}/delete/", {"post": "yes"})

        assert [(entry.action, entry.object_name) for entry in entries()] == [
            ("added", "mate"), ("password_changed", "mate"), ("changed", "mate"), ("password_changed", "mate"),
            ("deleted", "mate"),
        ]  # fmt: skip
        changed = entries().get(action="changed")
        assert (changed.before["groups"], changed.after["groups"]) == ("", "operator")
        assert (changed.before["is_active"], changed.after["is_active"]) == (True, False)
        assert "unsinkable" not in str([vars(entry) for entry in entries()])
        assert "md5$" not in str([vars(entry) for entry in entries()])

    def test_a_password_of_ones_own(self, client: Client, entries: Entries) -> None:
        new = {"new_password1": "unsinkable-1912", "new_password2": "unsinkable-1912"}
        client.post("/accounts/password_change/", {"old_password": "iceberg-ahead", **new})

        assert [(entry.action, entry.actor) for entry in entries()] == [("password_changed", "captain")]

    def test_tokens(self, client: Client, captain: User, entries: Entries) -> None:
        token = {"user": captain.pk, "note": "drill", "can_read": "on"}
        client.post("/admin/titanic_site/accesstoken/add/", token)
        row = AccessToken.objects.get(note="drill")
        client.post("/admin/titanic_site/accesstoken/", {
            "action": "delete_selected", "_selected_action": [row.pk], "post": "yes",
        })  # fmt: skip

        added, deleted = entries()
        assert (added.action, added.after["can_read"], added.after["note"]) == ("added", True, "drill")
        assert (deleted.action, deleted.object_name) == ("deleted", str(row))

    def test_schedules(self, client: Client, entries: Entries) -> None:
        schedules.create_missing()
        task = PeriodicTask.objects.get(name="Check drift")
        rows = [task.pk]
        for action in ("disable_tasks", "toggle_tasks", "delete_selected"):
            client.post("/admin/django_celery_beat/periodictask/", {
                "action": action, "_selected_action": rows, "post": "yes", "confirmed": "yes",
            })  # fmt: skip

        assert [(entry.action, entry.before.get("enabled"), entry.after.get("action")) for entry in entries()] == [
            ("changed", True, "Disable selected tasks"),
            ("changed", False, "Toggle activity of selected tasks"),
            ("deleted", None, None),
        ]
        assert {entry.object_name for entry in entries()} == {str(task)}

    def test_sources_without_their_passwords(self, client: Client, entries: Entries) -> None:
        form = {"name": "old", "uri": "postgresql://ann:secret@db.example/ship#crew", "every": 60, "is_enabled": "on",
                "largest_problem_share": 0.1, "largest_missing_share": 1, "headings": "{}"}  # fmt: skip
        client.post("/admin/ingestion/source/add/", form)
        source = Source.objects.get(name="old")
        client.post(
            f"/admin/ingestion/source/{source.pk}/change/", {**form, "every": 1440, "largest_problem_share": 0.2}
        )
        client.post(f"/datasets/sources/{source.pk}/ingest/")
        Dataset.objects.update(state="failed")
        client.post(f"/datasets/sources/{source.pk}/remove/")

        added, changed, queued, deleted = entries()
        assert (added.action, added.after["name"], added.after["is_enabled"]) == ("added", "old", True)
        assert (changed.before["largest_problem_share"], changed.after["largest_problem_share"]) == ("0.1", "0.2")
        assert (changed.before["checked"], changed.after["checked"]) != ("", "")
        assert (queued.object_kind, deleted.action, deleted.object_name) == ("dataset", "deleted", "old")
        assert "secret" not in str([vars(entry) for entry in entries()])

    def test_a_token_of_the_command_line(self, captain: User, entries: Entries) -> None:
        call_command("create_token", "captain", scope=["read"])

        entry = entries().get()
        assert (entry.action, entry.actor_kind, entry.after["scopes"]) == ("added", "command", "read")


class TestTable:
    """The rows of the trail."""

    def test_an_entry_goes_with_its_change(self, captain: User, entries: Entries) -> None:
        source = Source(name="test", uri="people.csv")
        with pytest.raises(RuntimeError), transaction.atomic():
            sources.save(source, every=None, is_enabled=True)
            raise RuntimeError

        assert not entries().exists()

    def test_it_is_neither_changed_nor_deleted(self, captain: User) -> None:
        entry = AuditEntry.objects.get(action=Action.ADDED, object_name="captain")

        for change in (lambda: AuditEntry.objects.update(actor="x"), entry.save, entry.delete):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                change()
        assert AuditEntry.objects.filter(pk=entry.pk).exists()

    def test_what_is_old_is_deleted(self, captain: User, settings: Any) -> None:
        settings.AUDIT_KEPT_DAYS = 90
        for days in (89, 91):
            at = timezone.now() - timedelta(days=days)
            AuditEntry.objects.create(at=at, actor_kind="user", action="added", object_name=f"{days} days")

        assert retention.delete_old()["audit entries"] == 1
        assert AuditEntry.objects.filter(object_name="89 days").exists()

    def test_large_and_strange_values_are_cut(self, captain: User) -> None:
        audit.record(Action.CHANGED, captain, after={"x": "\0" + "x" * 1000, "y": float("nan"), "z": None})

        assert AuditEntry.objects.first().after == {"x": "x" * 200, "y": "nan", "z": None}


class TestPage:
    """The page for administrators, and its download."""

    def test_it_filters(self, client: Client, captain: User) -> None:
        audit.record(Action.DELETED, Source(name="hold <b>"))

        assert "hold &lt;b&gt;" in client.get("/audit/").text
        for query in ("action=deleted", "actor=&object_name=HOLD", "since=2026-01-01", "until=2999-01-01T00:00"):
            assert "hold &lt;b&gt;" in client.get(f"/audit/?{query}").text, query
        for query in ("action=promoted", "actor=nobody", "since=2999-01-01", f"request_id={GUID}", "object_name=hull"):
            assert "hold &lt;b&gt;" not in client.get(f"/audit/?{query}").text, query

    @pytest.mark.parametrize(
        "query",
        ["action=x", "since=x", "until=0001-01-01T00:00:00%2B23:59", "actor=%00", f"actor={'x' * 151}", "since=%F0%28"],
    )
    @pytest.mark.parametrize("format_", ["", "&format=csv"])
    def test_what_cannot_be_read_is_named(self, client: Client, query: str, format_: str) -> None:
        answer = client.get(f"/audit/?{query}{format_}")

        assert answer.status_code == 400
        assert "field__error" in answer.text

    def test_it_is_downloaded(self, client: Client, captain: User) -> None:
        audit.record(Action.SIGN_IN_FAILED, "=cmd|' /C calc'!A0")
        audit.record(Action.CHANGED, captain, before={"is_staff": False}, after={"is_staff": True})

        answer = client.get("/audit/?format=csv&since=2026-01-01")

        rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
        assert answer["Content-Disposition"] == 'attachment; filename="audit.csv"'
        assert (rows[0]["action"], rows[0]["before"], rows[0]["after"]) == (
            "changed", '{"is_staff": false}', '{"is_staff": true}',
        )  # fmt: skip
        assert rows[1]["object_name"].startswith("'=cmd")

    def test_a_page_costs_few_queries(self, client: Client, django_assert_max_num_queries: Any) -> None:
        for number in range(60):
            audit.record(Action.ADDED, f"{number}")

        # The session, the user and the rows.
        with django_assert_max_num_queries(5):
            page = client.get("/audit/")
        assert page.text.count("<tr>") == 51
        assert "before=" in page.text

    @in_the_admin
    def test_only_administrators_see_it(self, db: None) -> None:
        operator = Client()
        operator.force_login(make_user("operator", is_staff=True))

        assert operator.get("/audit/").status_code == 403
        assert operator.get("/admin/core/auditentry/").status_code == 403
        assert "/audit/" not in operator.get("/runs/").text


class TestApi:
    """The same for programs."""

    @pytest.fixture
    def api(self, captain: User) -> Client:
        token = AccessToken.objects.create(captain, can_admin=True)[1]
        return Client(headers={"Authorization": f"Token {token}"})

    def test_it_filters_and_pages(self, api: Client, django_assert_max_num_queries: Any) -> None:
        audit.record(Action.CHANGED, "hold", before={"is_open": True}, after={"is_open": False})
        for number in range(3):
            audit.record(Action.ADDED, f"{number}")

        # The token, its user and the rows.
        with django_assert_max_num_queries(3):
            first = api.get("/api/v1/audit/?action=added&actor=&page_size=2").json()
        following = api.get(first["next"]).json()
        (changed,) = api.get("/api/v1/audit/?object_name=HOL&since=2026-01-01&until=2999-01-01T00:00").json()["results"]

        assert [row["object_name"] for row in first["results"] + following["results"][:1]] == ["2", "1", "0"]
        assert (changed["actor_kind"], changed["before"], changed["after"]) == (
            "command", {"is_open": True}, {"is_open": False},
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("action=x", "action"), ("until=0001-01-01T00:00:00%2B23:59", "until"), ("actor=%00", "actor"),
            ("since=%F0%28", "since"), ("until=", "until"), ("page_size=0", "page_size"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_named(self, api: Client, query: str, name: str) -> None:
        answer = api.get(f"/api/v1/audit/?{query}")

        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, name)


def test_an_entry_says_nothing_of_what_was_none_and_is_none() -> None:
    entry = AuditEntry(before={"name": "a"}, after={"name": "b", "since": None, "channel": "", "rows": 0})

    assert entry.changes == [("name", "a", "b"), ("rows", "–", 0)]
