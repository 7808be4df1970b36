"""The door of the web processes."""

import gc
import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Django's; what is no stream is handed over whole, which spares the server a channel for each answer."""
    response: Any = _django(environ, start_response)
    if response.streaming:
        return response
    try:
        return [response.content]
    finally:
        response.close()
        _untie(response)


def _untie(response: Any) -> None:
    """Take apart the circles in which Django and REST framework tie a request, its view and its answer.

    Otherwise each batch, as it came and as it was answered, would wait for the garbage collector.
    """
    context = getattr(response, "renderer_context", None)
    if context:
        request = context["request"]
        for tied in (request._request, context["view"]):
            vars(tied).clear()
        request.parser_context.clear()
        context.clear()


# A batch makes tens of thousands of objects, none of them in a circle by now: to look for some after every 700 of them
# took a tenth of its time. What is there already stays, and is not looked at again.
gc.freeze()
gc.set_threshold(50_000, 20, 20)
