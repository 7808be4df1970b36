"""The page that is served while `up` starts, so that a browser need not be told when: what is done, and what goes on.

A process of its own: `up` forks, which threads forbid. It listens beside the web server until that answers.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django

if TYPE_CHECKING:
    from django.http import HttpResponse

    from core.jobs import Job

_RETRY_SECONDS = 2
#: What Django sets up; until then requests wait.
_SETTINGS = "titanic_site.settings"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = True

    def server_bind(self) -> None:
        # HTTPServer asks name servers for this machine's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


def serve(host: str, port: int) -> None:
    """Listen at once, and answer as soon as Django is there."""
    _Server.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _Server((host, port), _Handler) as server:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", _SETTINGS)
        django.setup()
        from django.conf import settings
        from whitenoise import WhiteNoise

        static = WhiteNoise(application, max_age=0)
        static.add_files(str(settings.BASE_DIR / "titanic_site/static"), prefix=settings.STATIC_URL)
        server.set_app(static)
        server.serve_forever()


def application(
    environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer every request with 503: programs in the API's shape, people with a page that reloads itself."""
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIRequest
    from django.db import connections
    from django.utils import translation

    request = WSGIRequest(environ)
    try:
        with translation.override(translation.get_language_from_request(request)):
            response = answer(request.path_info)
    finally:
        connections.close_all()
    response["Retry-After"] = str(_RETRY_SECONDS)
    response["Cache-Control"] = "no-store"
    response["Content-Security-Policy"] = settings.CONTENT_SECURITY_POLICY
    response["Content-Length"] = str(len(response.content))
    start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
    return [] if request.method == "HEAD" else [response.content]


def answer(path: str) -> "HttpResponse":
    """Render how far the start is."""
    from django.http import HttpResponse, JsonResponse
    from django.template.loader import render_to_string
    from django.utils.translation import gettext as _

    unavailable = HTTPStatus.SERVICE_UNAVAILABLE
    if path in ("/healthz", "/readyz", "/metrics"):
        return JsonResponse(
            {"ready": False, "checks": {"start": _("This installation is starting.")}}, status=unavailable
        )
    if path.startswith(("/api/", "/v2")):
        from core.errors import Unavailable, error_body

        return JsonResponse(error_body(Unavailable(_("This installation is starting."))), status=unavailable)
    from django.db import DatabaseError, InterfaceError

    from features.models import FeatureBatch
    from ingestion.models import Dataset
    from training.models import TrainingRun

    steps = ((_("Sample"), Dataset), (_("Features"), FeatureBatch), (_("Training"), TrainingRun))
    jobs: list[tuple[str, Job | None]] = [(label, None) for label, _model in steps]
    try:
        jobs = [(label, model.objects.first()) for label, model in steps]
        is_migrated = True
    except (DatabaseError, InterfaceError):
        is_migrated = False
    context = {
        "is_migrated": is_migrated,
        "jobs": jobs,
        "is_trained": all(job is not None and not job.is_open for _label, job in jobs),
        "seconds": _RETRY_SECONDS,
    }
    return HttpResponse(render_to_string("starting.html", context), status=unavailable)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
