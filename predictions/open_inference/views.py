"""The addresses of the Open Inference Protocol.

Metadata and readiness of the server and of the model, open to everybody, and `infer`: tensors in, tensors out. An
inference checks, scores and logs its passengers as the API does. Errors come in the protocol's shape, {"error": text}.
"""

import msgspec
from django.http import HttpResponse
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid
from core.idempotency import HEADER
from core.negotiation import FileNegotiation
from core.parsers import BytesParser
from core.roles import Scope
from ingestion.passenger import LABEL, MODEL_NAME
from predictions import rejections, scorer, services
from predictions.models import Channel
from predictions.open_inference import tensors
from predictions.services import ScoringRequest

#: The outputs: the attribute of an answer and its datatype, by name.
_OUTPUTS = {"probability": ("probability", "FP64"), LABEL: ("predicted", "BOOL"), "id": ("id", "BYTES")}


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """An output for n rows, shape (n,); of one whose data are bytes after the JSON, `parameters` say how many."""

    name: str
    datatype: str
    shape: tuple[int]
    data: list[object] | None = None
    parameters: dict[str, int] | None = None


class InferenceResponse(msgspec.Struct, omit_defaults=True):
    """The body of an answer; `id` is the request's."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


class ProtocolView(APIView):
    """A view whose errors have the protocol's shape."""

    schema = None
    scope = Scope.PREDICT
    parser_classes = (BytesParser,)
    # Clients accept what they will: JSON, or bytes with it.
    content_negotiation_class = FileNegotiation

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        errors = response.data["errors"]
        texts = [f"{error['attr']}: {error['detail']}" if error["attr"] else str(error["detail"]) for error in errors]
        response.data = {"error": " ".join(texts)}
        return response


class OpenView(ProtocolView):
    """A view for clients without a token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class Server(OpenView):
    """Describe the server."""

    def get(self, request: Request) -> Response:
        return Response(
            {"name": MODEL_NAME, "version": "2", "extensions": ["binary_tensor_data", "model_configuration"]}
        )


class Live(OpenView):
    """Tell that the process is alive."""

    def get(self, request: Request) -> Response:
        return Response({"live": True})


class Ready(OpenView):
    """Tell whether the champion, or a version, is ready to answer; 503 with the reason when none is."""

    def get(self, request: Request, version: int | None = None) -> Response:
        champion = _champion(version)
        return Response({"ready": True, "name": MODEL_NAME, "version": str(champion.version)})


class Model(OpenView):
    """Describe the model's inputs and outputs."""

    def get(self, request: Request, version: int | None = None) -> Response:
        return Response(
            {
                "name": MODEL_NAME,
                "versions": [str(_champion(version).version)],
                "platform": "onnx_onnxv1",
                "inputs": tensors.input_metadata(),
                "outputs": [tensors.TensorMetadata(name, datatype) for name, (_, datatype) in _OUTPUTS.items()],
            }
        )


class Config(OpenView):
    """Describe the model as Triton's configuration does, for clients that read no metadata."""

    def get(self, request: Request, version: int | None = None) -> Response:
        _champion(version)
        return Response({
            "name": MODEL_NAME, "platform": "onnxruntime_onnx", "backend": "onnxruntime", "max_batch_size": 0,
            "input": [_configure(tensor.name, tensor.datatype) for tensor in tensors.input_metadata()],
            "output": [_configure(name, datatype) for name, (_, datatype) in _OUTPUTS.items()],
        })  # fmt: skip


class Infer(ProtocolView):
    """Predict for n rows, and log the predictions like those of every other channel."""

    def post(self, request: Request, version: int | None = None) -> Response | HttpResponse:
        if HEADER in request.headers:
            message = _("No key is read here: leave it out, or send the rows to %(address)s, which reads it.")
            raise Invalid({HEADER: [("not_read", message % {"address": "/api/v1/predictions/batch/"})]})
        _champion(version)
        body: object = request.data
        if not isinstance(body, bytes):
            # REST framework's own, where there is none.
            body = b""
        with rejections.counted(Channel.V2):
            inference = tensors.InferenceRequest.parse(body, json_length=request.headers.get(tensors.JSON_LENGTH))
            rows = inference.rows()
        names = [output.name for output in inference.outputs or ()] or list(_OUTPUTS)
        if unknown := [name for name in names if name not in _OUTPUTS]:
            raise Invalid({name: [("unknown_output", _("There is no such output."))] for name in unknown})
        answers = services.predict(ScoringRequest(rows, Channel.V2))
        outputs = [
            OutputTensor(name, datatype, (len(answers),), [getattr(answer, attribute) for answer in answers])
            for name, (attribute, datatype) in ((name, _OUTPUTS[name]) for name in names)
        ]
        packed = b""
        for output in outputs:
            if inference.is_binary(output.name):
                content = tensors.to_bytes(output.data or [], output.datatype)
                output.data, output.parameters = None, {"binary_data_size": len(content)}
                packed += content
        response = InferenceResponse(MODEL_NAME, str(answers[0].model_version), outputs, id=inference.id)
        if not packed:
            return Response(response)
        encoded = msgspec.json.encode(response)
        headers = {tensors.JSON_LENGTH: str(len(encoded))}
        return HttpResponse(encoded + packed, content_type="application/octet-stream", headers=headers)


class Unknown(OpenView):
    """Answer 404 at every other address below /v2."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound


def _configure(name: str, datatype: str) -> dict[str, object]:
    """Describe a tensor in the words of a model's configuration."""
    return {"name": name, "data_type": f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}", "dims": [-1]}


def _champion(version: int | None) -> scorer.Champion:
    """Return the champion; raises NotFound when the address names another version, Unavailable when there is none."""
    champion = scorer.champion()
    if version not in (None, champion.version):
        message = _("Version %(requested)s is not serving, version %(champion)s is.")
        raise NotFound(message % {"requested": version, "champion": champion.version})
    return champion
