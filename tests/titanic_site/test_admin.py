"""The admin: every model of ours and the scheduler's, jobs to look at and to start again, and who may do what."""

import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import resolve
from django.utils.html import escape
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from fontTools.ttLib import TTFont
from playwright.sync_api import Page

from core.admin import BaseAdmin, EstimatedPaginator
from core.jobs import Job, State, kinds
from core.models import AuditEntry, JobLogLine, StoredAnswer
from deploy import admin_icons
from ingestion.models import Dataset, RejectedRow, Source
from predictions.models import Outcome, Prediction, ScoringJob, ScoringPart
from tests.rows import PASSWORD, one_of_each
from tests.users import make_user
from titanic_site import schedules
from titanic_site.models import AccessToken
from training.models import ModelVersion, StageChange

# The theme has its own ways with variables.
pytestmark = pytest.mark.ignore_template_errors

CONFIRMED = {"confirmed": "yes"}
OURS = ("core", "titanic_site", "ingestion", "features", "training", "predictions", "monitoring")


@pytest.fixture
def administrator(db: None) -> User:
    return User.objects.create_superuser("captain")


@pytest.fixture
def client(administrator: User) -> Client:
    return _signed_in(administrator)


@pytest.fixture
def rows(administrator: User) -> dict[type[Any], Any]:
    return one_of_each(administrator)


@pytest.fixture
def viewer(django_user_model: Any, db: None) -> User:
    """Staff with the role of viewer, and with a permission that no role gives, which is void."""
    viewer = make_user("viewer", "viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.exclude(codename__startswith="view_"))
    return viewer


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _actions(page: Any) -> list[str]:
    """The names of its actions, those of the theme too."""
    kinds = ("actions", "actions_list", "actions_row", "actions_detail", "actions_submit_line")
    return [name for kind in kinds for name in getattr(page, kind) or ()]


def _offered(page: Any, user: User, row: Any) -> set[str]:
    request = RequestFactory().get("/")
    request.user = user
    of_list = [*page.get_actions_list(request), *page.get_actions_row(request)]
    of_row = [*page.get_actions_detail(request, row.pk), *page.get_actions_submit_line(request, row.pk)]
    return {*page.get_actions(request), *(action["name"] for action in [*of_list, *of_row])}


def _url(model: type[Any], page: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{page}"


def test_every_model_of_ours_and_of_the_scheduler_is_there_in_the_theme() -> None:
    ours = [model for model in apps.get_models() if model._meta.app_label in OURS]
    theirs = [ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule]

    assert [model for model in [*ours, *theirs] if not admin.site.is_registered(model)] == []
    assert [model for model, page in admin.site._registry.items() if not isinstance(page, BaseAdmin)] == []


def test_every_page_opens_for_the_administrator(client: Client, rows: dict[type[Any], Any]) -> None:
    for model, row in rows.items():
        assert client.get(_url(model)).status_code == 200, model
        assert client.get(_url(model, f"{row.pk}/change/")).status_code == 200, model
        assert client.get(_url(model, "add/")).status_code in (200, 403), model


def test_the_apps_are_called_in_the_readers_language(client: Client) -> None:
    page = client.get("/admin/", headers={"Accept-Language": "es"}).text

    for name in ("Características", "Conjuntos de datos", "Supervisión", "Predicciones", "Entrenamiento", "Sitio"):
        assert name in page
    for name in ("Features", "Ingestion", "Monitoring", "Predictions", "Training"):
        assert f">{name}<" not in re.sub(r">\s+|\s+<", lambda found: found[0].strip(), page)


def test_it_has_the_products_name_and_colours(client: Client) -> None:
    page = client.get("/admin/").text

    assert "Titanic MLOps" in page
    # The accent of the pages.
    assert "--color-primary-600: rgb(36, 88, 184)" in " ".join(page.split())


def test_a_browser_shows_it_under_its_policy(page: Page, live_server: Any, administrator: User) -> None:
    rows = one_of_each(administrator)
    fonts = set[str]()
    problems: list[str] = []
    page.on("request", lambda request: fonts.add(request.url) if request.url.endswith(".woff2") else None)
    page.on("console", lambda message: problems.append(f"{page.url} {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"{page.url} {error}"))
    page.goto("/admin/")
    assert page.locator("#id_username").is_visible()
    session = _signed_in(administrator).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])

    for model in (User, PeriodicTask, ModelVersion, AccessToken):
        for address in (_url(model), _url(model, f"{rows[model].pk}/change/")):
            answer = page.goto(address)
            assert answer is not None
            assert (
                "'unsafe-inline'"
                not in answer.headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
            )

        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    assert problems == []
    assert {url.partition("/theme/")[2] for url in fonts} == {"icons.woff2"}


def test_every_icon_of_the_theme_is_in_the_font() -> None:
    icons = admin_icons.ligatures(TTFont(admin_icons.WHOLE))

    assert admin_icons.needed(icons) <= admin_icons.ligatures(TTFont(admin_icons.FONT)).keys()


def test_who_may_look_sees_every_page_and_no_password_and_changes_nothing(
    viewer: User, rows: dict[type[Any], Any]
) -> None:
    client = _signed_in(viewer)

    for model, row in rows.items():
        # Of these everybody sees their own.
        if model in (AccessToken, ScoringJob):
            continue
        seen = client.get(_url(model, f"{row.pk}/change/"))
        assert (seen.status_code, PASSWORD in seen.text) == (
            403 if model in (User, Group, AuditEntry, JobLogLine, StoredAnswer) else 200,
            False,
        ), model
        for page in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
            assert client.post(_url(model, page), {"post": "yes"}).status_code == 403, (model, page)


def test_staff_without_rights_open_nothing(django_user_model: Any, rows: dict[type[Any], Any]) -> None:
    client = _signed_in(django_user_model.objects.create_user("staff", is_staff=True))

    for model, row in rows.items():
        for page in ("", "add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
            assert client.get(_url(model, page)).status_code == 403, (model, page)
            assert client.post(_url(model, page)).status_code == 403, (model, page)


def test_every_action_asks_for_a_permission() -> None:
    pages = admin.site._registry.values()

    assert [
        (page, name) for page in pages for name in _actions(page)
        if not getattr(getattr(page, name), "allowed_permissions", ())
    ] == []  # fmt: skip


def test_every_action_asks_a_person_first(client: Client, rows: dict[type[Any], Any]) -> None:
    before = _everything()

    for model, page in admin.site._registry.items():
        for name in _actions(page):
            answer = client.post(_url(model), {"action": name, "_selected_action": [rows[model].pk]})
            # Some ask on the product's own page.
            asks = answer.status_code == 302 if name in ("promote", "retire") else "Yes, go on" in answer.text
            assert asks, (model, name)

    assert _everything() == before


def test_a_row_leads_to_the_products_page_for_it(client: Client, rows: dict[type[Any], Any]) -> None:
    for model in (Dataset, ModelVersion, Outcome, PeriodicTask, RejectedRow, ScoringPart, User):
        address = admin.site._registry[model].view_on_site(rows[model])
        resolve(address.partition("?")[0])
        assert f'href="{escape(address)}"' in client.get(_url(model)).text, model


@pytest.mark.parametrize("text", ["x", "\0", "9" * 40, "%_\\'", "01a19467-e800-7000-8000-000500000002"])
def test_odd_texts_and_days_are_looked_for_without_an_error(client: Client, db: None, text: str) -> None:
    for model, page in admin.site._registry.items():
        if page.search_fields:
            assert client.get(_url(model), {"q": text}).status_code == 200, model
        if page.date_hierarchy:
            assert client.get(_url(model), {f"{page.date_hierarchy}__year": text}).status_code == 400, model
            assert client.get(_url(model), {f"{page.date_hierarchy}__year": "2026"}).status_code == 200, model


def test_who_may_look_is_offered_no_action_and_runs_none(viewer: User, rows: dict[type[Any], Any]) -> None:
    client = _signed_in(viewer)
    before = _everything()

    for model, page in admin.site._registry.items():
        # Everybody may delete a token of their own.
        assert _offered(page, viewer, rows[model]) == ({"delete_selected"} if model is AccessToken else set()), model
        for name in _actions(page):
            sent = {"action": name, "_selected_action": [rows[model].pk]}
            assert client.post(_url(model), sent).status_code < 500, (model, name)

    assert _everything() == before


def test_an_operator_is_offered_every_action(rows: dict[type[Any], Any]) -> None:
    operator = make_user("operator", is_staff=True)

    for model, page in admin.site._registry.items():
        assert _offered(page, operator, rows[model]) - {"delete_selected"} == set(_actions(page)), model


def _everything() -> dict[type[Any], list[Any]]:
    return {model: list(model._default_manager.order_by("pk").values_list()) for model in admin.site._registry}


def test_only_the_administrator_makes_a_token_for_somebody_else(viewer: User, administrator: User) -> None:
    request = RequestFactory().get("/")

    def owners(by: User) -> set[User]:
        request.user = by
        user: Any = admin.site._registry[AccessToken].get_form(request).base_fields["user"]
        return set(user.queryset)

    assert (owners(viewer), owners(administrator)) == ({viewer}, {viewer, administrator})


@pytest.mark.parametrize("kind", kinds())
def test_jobs_are_read_only(client: Client, rows: dict[type[Any], Any], kind: type[Job]) -> None:
    page = f"{rows[kind].pk}/change/"

    assert client.get(_url(kind, "add/")).status_code == 403
    assert client.post(_url(kind, page), {"name": "y"}).status_code == 403
    assert client.post(_url(kind, page.replace("change", "delete")), {"post": "yes"}).status_code == 403


def test_a_job_is_started_again_from_the_list(client: Client) -> None:
    failed = Dataset.objects.create(name="x", uri="x", state=State.FAILED)

    page = client.post(_url(Dataset), {"action": "rerun", "_selected_action": [failed.pk], **CONFIRMED}, follow=True)

    again = Dataset.objects.get(state=State.QUEUED)
    assert (again.uri, again.pk > failed.pk) == ("x", True)
    assert "started again" in page.text


def test_an_open_job_is_cancelled_from_the_list_and_not_started_twice(client: Client) -> None:
    job = Dataset.objects.create(name="x", uri="x")

    sent = {"_selected_action": [job.pk], **CONFIRMED}
    refused = client.post(_url(Dataset), {"action": "rerun", **sent}, follow=True)
    client.post(_url(Dataset), {"action": "cancel", **sent})

    job.refresh_from_db()
    assert "cancel it first" in refused.text
    assert job.state == State.CANCELLED


def test_datasets_are_archived_once_a_person_has_confirmed_it(client: Client) -> None:
    job = Dataset.objects.create(name="x", uri="x", state=State.SUCCEEDED)
    sent = {"action": "archive", "_selected_action": [job.pk]}

    asked = client.post(_url(Dataset), sent)
    job.refresh_from_db()
    assert "Archive these datasets?" in asked.text
    assert f'name="_selected_action" value="{job.pk}"' in asked.text
    assert job.archived_at is None

    client.post(_url(Dataset), {**sent, "confirmed": "yes"})
    job.refresh_from_db()
    assert job.archived_at is not None


def test_who_put_a_model_in_charge_cannot_be_rewritten(client: Client, rows: dict[type[Any], Any]) -> None:
    change = rows[StageChange]

    assert client.post(_url(StageChange, f"{change.pk}/change/"), {"reason": "other"}).status_code == 403
    assert client.post(_url(StageChange, f"{change.pk}/delete/"), {"post": "yes"}).status_code == 403


def test_a_champion_is_not_put_in_charge_twice(champion: ModelVersion, client: Client) -> None:
    page = client.post(_url(ModelVersion), {"action": "promote", "_selected_action": [champion.pk]}, follow=True)

    assert "is the champion already" in page.text


def test_a_schedule_is_edited_with_the_registered_tasks_to_choose_from(client: Client) -> None:
    schedules.create_missing()
    periodic = PeriodicTask.objects.get(name="Check drift")

    page = client.get(_url(PeriodicTask, f"{periodic.pk}/change/"))

    assert "monitoring.tasks.scheduled_check" in page.text
    assert '<option value="ingestion.tasks.ingest"' in page.text


def test_a_stranger_is_asked_to_sign_in() -> None:
    assert Client().get("/admin/")["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("query", ["uri__startswith=postgresql://ann:s", "uri=x", "source__uri__regex=(", "state=\0"])
@pytest.mark.parametrize("model", [Dataset, Source])
def test_rows_are_found_by_the_offered_filters_alone(viewer: User, model: type[Any], query: str) -> None:
    assert _signed_in(viewer).get(_url(model), query_params=dict([query.split("=")])).status_code == 400
    assert _signed_in(viewer).get(f"{_url(Dataset)}?state__exact=failed&source__id__exact=1").status_code == 200


@pytest.mark.parametrize("key", ["x", "\0", "9" * 50])
def test_an_action_on_no_row_is_rejected(client: Client, db: None, key: str) -> None:
    answer = client.post(_url(Dataset), {"action": "rerun", "_selected_action": [key]})

    assert answer.status_code in (302, 400)


@pytest.mark.parametrize("page", ["x", "0", "99", "\0"])
def test_a_page_of_the_search_that_is_none_is_not_found(client: Client, db: None, page: str) -> None:
    assert client.get("/admin/search/", {"s": "user", "page": page}).status_code == 404
    assert client.get("/admin/search/", {"s": "user"}).status_code == 200


def test_an_administrator_takes_no_superuser_down(administrator: User) -> None:
    other = make_user("boatswain", "administrator", is_staff=True)
    client = _signed_in(other)

    sent = {"username": administrator.username, "is_active": ""}
    assert client.post(_url(User, f"{administrator.pk}/change/"), sent).status_code == 403
    kept = {"username": other.username, "is_superuser": "on", "is_active": "on", "is_staff": "on"}
    client.post(_url(User, f"{other.pk}/change/"), {**kept, "groups": [other.groups.get().pk]})
    assert not User.objects.get(pk=other.pk).is_superuser
    assert client.post(_url(User, f"{administrator.pk}/delete/"), {"post": "yes"}).status_code == 403


def test_roles_cannot_be_renamed(client: Client, db: None) -> None:
    group = Group.objects.get_or_create(name="viewer")[0]

    assert client.post(_url(Group, f"{group.pk}/change/"), {"name": "operator"}).status_code == 403
    assert client.post(_url(Group, f"{group.pk}/delete/"), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", [Prediction, Dataset])
def test_a_long_list_is_estimated_instead_of_counted(
    client: Client, rows: dict[type[Any], Any], model: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if model is Dataset:
        Dataset.objects.bulk_create([Dataset(name="x", uri="x", state=State.FAILED) for _ in range(9)])
    whole, selection = model.objects.order_by("pk"), model.objects.exclude(pk=None)
    exact = whole.count()
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {model._meta.db_table}")

    assert EstimatedPaginator(whole, 100).count == exact
    monkeypatch.setattr(EstimatedPaginator, "MOST_COUNTED", 0)
    assert EstimatedPaginator(whole, 100).count == exact
    assert EstimatedPaginator(selection, 100).count == 1
    assert client.get(_url(model)).status_code == 200
