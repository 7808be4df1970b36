"""Views that are asked often: JSON in and out by the shortest way, and nothing is left to the garbage collector."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from titanic_site.lib.renderers import JSONRenderer


class PlainView(APIView):
    """A view that answers with bytes; its parser is asked at once when the body is what it reads."""

    def sent(self, request: Request) -> Any:
        """The body, as the parser reads it; raises what the parser raises, UnsupportedMediaType."""
        parser = self.parser_classes[0]
        if request.META.get("CONTENT_TYPE") == parser.media_type:
            plain: Any = request._request
            return parser().parse(plain)
        return request.data

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """The answer; request and view no longer hold themselves and each other."""
        # Batches of a thousand filled 350 MB until the collector came by.
        request.parser_context.clear()
        vars(self).pop("head", None)
        return super().finalize_response(request, response, *args, **kwargs)


def written(data: Any, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """The answer as bytes: REST framework's own, which may still become anything, costs as much as a derivation."""
    return HttpResponse(
        JSONRenderer().render(data), content_type=JSONRenderer.media_type, status=status, headers=headers
    )
