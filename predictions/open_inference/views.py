"""The Open Inference Protocol v2: clients of KServe, MLServer and Triton ask here, in JSON."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api_errors import api_exception_handler
from core.errors import Invalid
from core.parsers import JSONParser
from core.tokens import Scope
from predictions import scorer, services
from predictions.models import Channel
from predictions.open_inference import tensors
from predictions.services import Answer, ScoringRequest

NAME = "titanic"
_OUTPUTS = {"probability": "FP64", "survived": "BOOL", "id": "BYTES"}


class AnyJSONParser(JSONParser):
    """JSON under any name: Triton's client gives its body none."""

    media_type = "*/*"


class ProtocolView(APIView):
    """Refuses in the protocol's own shape."""

    schema = None
    scope = Scope.PREDICT
    parser_classes = (AnyJSONParser,)

    def get_exception_handler(self) -> Any:
        return _refusal


class OpenView(ProtocolView):
    """What a client may ask before it has a token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class Server(OpenView):
    """Who answers here."""

    def get(self, request: Request) -> Response:
        return Response({"name": NAME, "version": "2", "extensions": []})


class Live(OpenView):
    """Whether the process answers."""

    def get(self, request: Request) -> Response:
        return Response({"live": True})


class Ready(OpenView):
    """Whether a model is in charge; 503 with the reason when none is."""

    def get(self, request: Request, version: int | None = None) -> Response:
        champion = _champion(version)
        return Response({"ready": True, "name": NAME, "version": str(champion.version)})


class Model(OpenView):
    """What the model takes and gives."""

    def get(self, request: Request, version: int | None = None) -> Response:
        outputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in _OUTPUTS.items()]
        return Response(
            {
                "name": NAME,
                "versions": [str(_champion(version).version)],
                "platform": "onnx_onnxv1",
                "inputs": tensors.inputs(),
                "outputs": outputs,
            }
        )


class Infer(ProtocolView):
    """Answer for n passengers, and log the predictions like those of every other channel."""

    def post(self, request: Request, version: int | None = None) -> Response:
        if "Inference-Header-Content-Length" in request.headers:
            raise Invalid({"body": [("binary", _("Tensors are taken as JSON: switch the binary extension off."))]})
        _champion(version)
        asked = tensors.Request.of(request.data)
        wanted = list(_OUTPUTS) if asked.outputs is None else [output.name for output in asked.outputs]
        if unknown := [name for name in wanted if name not in _OUTPUTS]:
            raise Invalid({name: [("unknown_output", _("There is no such output."))] for name in unknown})
        scoring_request = ScoringRequest(asked.rows(most=services.MAX_BATCH), Channel.V2)
        return Response(_outputs(services.predict(scoring_request), wanted, asked=asked.id))


def _outputs(answers: list[Answer], wanted: list[str], *, asked: str | None) -> dict[str, Any]:
    """Answers as the protocol's tensors, under the name that the question has."""
    outputs = [
        {
            "name": name,
            "datatype": _OUTPUTS[name],
            "shape": [len(answers)],
            "data": [getattr(given, name) for given in answers],
        }
        for name in wanted
    ]
    found = {"model_name": NAME, "model_version": str(answers[0].model_version), "outputs": outputs}
    return found if asked is None else {**found, "id": asked}


class Unknown(OpenView):
    """Every other address below."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound


def _champion(version: int | None) -> scorer.Champion:
    champion = scorer.champion()
    if version not in (None, champion.version):
        message = _("Version %(asked)s is not in charge, version %(champion)s is.")
        raise NotFound(message % {"asked": version, "champion": champion.version})
    return champion


def _refusal(exc: Exception, context: Any) -> Response | None:
    response = api_exception_handler(exc, context)
    if response is None:
        return None
    said = [f"{error['attr']}: {error['detail']}" if error["attr"] else error["detail"]
            for error in response.data["errors"]]  # fmt: skip
    response.data = {"error": " ".join(map(str, said))}
    return response
