"""Django's WSGI application, served by Granian."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from granian.utils.proxies import wrap_wsgi_with_proxy_headers

from core import postgres_waits

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")
postgres_waits.install()
if settings.ARTIFACT_BUCKET:
    # Imported only with a bucket: Google's client takes forty megabytes.
    from core import bucket

    bucket.set_deadline()

application = wrap_wsgi_with_proxy_headers(get_wsgi_application(), trusted_hosts=settings.TRUSTED_PROXIES)

from core import jobs  # noqa: E402 - it imports models, for which Django must be set up

jobs.bound_waits()
