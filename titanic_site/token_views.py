"""The pages of API tokens."""

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from core import moments
from core.errors import Forbidden
from core.pagination import SIZE, page, page_of
from core.roles import Scope, requires, scopes_of
from core.users import current_user
from titanic_site import accounts
from titanic_site.forms import TokenForm
from titanic_site.models import AccessToken


@requires(Scope.READ)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's own tokens, an administrator the others' too, and make one, which is shown this once."""
    user, context = current_user(request), dict[str, object]()
    form = TokenForm(request.POST if request.method == "POST" else None, user=user)
    if request.method == "POST":
        if user is None:
            # With LOGIN_REQUIRED=false whoever visits has a role, and no account.
            raise Forbidden
        if form.is_valid():
            context["made"], context["token"] = form.save(user)
            form = TokenForm(user=user)
    visible = AccessToken.objects.select_related("user")
    before = moments.parse(request.GET.get("made_before", ""))
    mine = visible.filter(user=user, **({"created__lt": before} if before else {})).order_by("-created")
    context |= {
        "form": form,
        "mine": page_of(
            list(mine[: SIZE + 1]), request.GET, key=lambda token: token.created.isoformat(), parameter="made_before"
        ),
        "others": page(visible.exclude(user=user), request) if Scope.ADMIN in scopes_of(request.user) else None,
        "now": timezone.now(),
        "site": settings.SITE_URL,
    }
    return render(request, "token_list.html", context, status=400 if form.errors else 200)


@requires(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_token(request: HttpRequest, key: str) -> HttpResponse:
    """Ask whether a token is to be revoked, and revoke it."""
    token = get_object_or_404(_revocable(request).select_related("user"), pk=key)
    if request.method != "POST":
        return render(request, "token_revoke.html", {"token": token})
    accounts.revoke_token(token)
    messages.success(request, _("The token %(token)s is revoked.") % {"token": f"{token.token_key}…"})
    return redirect("tokens")


def _revocable(request: HttpRequest) -> QuerySet[AccessToken]:
    """Select the tokens that the request may see: one's own, or an administrator's all."""
    everybodys: QuerySet[AccessToken] = AccessToken.objects.all()
    return everybodys if Scope.ADMIN in scopes_of(request.user) else everybodys.filter(user=current_user(request))
