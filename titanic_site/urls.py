"""Every address."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from core import sign_in
from titanic_site import schedule_views, token_views, user_views, views

handler400 = views.bad_request
handler500 = views.server_error

urlpatterns = [
    # First, and in it the predictions first: addresses are tried in this order.
    path("api/v1/", include("titanic_site.api")),
    path("", include("predictions.open_inference.urls")),
    path("", views.home, name="home"),
    *(path("", include(f"{app}.urls")) for app in ("ingestion", "features", "training", "predictions", "monitoring")),
    path("datasets/<int:pk>/lineage/", views.dataset_lineage, name="dataset_lineage"),
    path("overview/", views.overview_page, name="overview"),
    path("overview/dead-letters/", views.retry_dead_letters, name="retry_dead_letters"),
    path("runs/", views.all_runs, name="runs"),
    path("runs/again/", views.run_many_again, name="runs_again"),
    path("runs/<str:kind>/<int:pk>/", views.run, name="run"),
    path("runs/<str:kind>/<int:pk>/log.txt", views.run_log, name="run_log"),
    path("runs/<str:kind>/<int:pk>/again/", views.run_again, name="run_again"),
    path("runs/<str:kind>/<int:pk>/cancel/", views.run_cancel, name="run_cancel"),
    path("search/", views.search_page, name="search"),
    path("pipeline/", views.next_step, name="pipeline"),
    path("schedules/", schedule_views.schedules, name="schedules"),
    path("schedules/<int:pk>/", schedule_views.schedule, name="schedule"),
    path("schedules/<int:pk>/switch/", schedule_views.switch_schedule, name="schedule_switch"),
    path("schedules/<int:pk>/run/", schedule_views.run_schedule, name="schedule_run"),
    path("tokens/", token_views.tokens, name="tokens"),
    path("tokens/<slug:key>/revoke/", token_views.revoke_token, name="token_revoke"),
    path("users/", user_views.users, name="users"),
    path("users/<int:pk>/role/", user_views.change_role, name="user_role"),
    path("users/<int:pk>/link/", user_views.password_link, name="user_link"),
    path("users/<int:pk>/disable/", user_views.disable, name="user_disable"),
    path("users/<int:pk>/enable/", user_views.enable, name="user_enable"),
    path("storage/", views.storage, name="storage"),
    path("audit/", views.audit, name="audit"),
    path("accounts/link/", views.start_link, name="start_link"),
    # Before Django's own, and the admin's.
    path("accounts/password_change/", sign_in.change_password, name="password_change"),
    path("admin/password_change/", sign_in.change_password),
    path("accounts/password_reset/", sign_in.reset_password, name="password_reset"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("display/", views.display, name="display"),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("admin/", admin.site.urls),
    # Browsers request it for pages that name no icon: the admin, the API's own, a file.
    path("favicon.ico", login_not_required(RedirectView.as_view(url=static("logo.svg")))),
]
