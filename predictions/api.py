"""The API of predictions: the log, outcomes, explanations, scoring jobs."""

import io
import zlib
from typing import Any, cast
from uuid import UUID

import msgspec
from django.http import StreamingHttpResponse
from django.urls import path
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from core import moments
from core.api import DetailView, JobQuery, ListView, View, accepted, unknown_fields, validate_body
from core.errors import Conflict, Invalid
from core.idempotency import HEADER, REPLAYED, caller_of, idempotent
from core.jobs import JobQuerySet
from core.negotiation import FileNegotiation
from core.parsers import CSVParser, JSONParser
from core.roles import Scope
from core.uploads import UploadSerializer
from core.users import current_user
from ingestion.contract import CONTROL_RANGES
from ingestion.openapi import batch_schema, passenger_schema
from ingestion.passenger import LABEL
from predictions import drift_state, explanation, log, outcomes, services, shadow
from predictions.downloads import results_response
from predictions.filters import MAX_NUMBER, Known, PredictionFilter
from predictions.idempotency import Key
from predictions.model_comparison import ModelComparison
from predictions.models import REFERENCE, Channel, Outcome, Prediction, PredictionQuerySet, ScoringJob
from predictions.serializers import (
    AnswerSerializer,
    BatchAnswerSerializer,
    OutcomeSerializer,
    PredictionSerializer,
    ScoringJobSerializer,
    ScoringUploadSerializer,
    outcomes_schema,
)
from training.models import ModelVersion

_ROW = passenger_schema({REFERENCE: "The caller's own id of the prediction, kept with it, to find it by."})

_REFERENCE_PATTERN = rf"^[^\s{CONTROL_RANGES}][^{CONTROL_RANGES}]{{0,99}}$"


class PredictionList(ListView[Prediction]):
    """The prediction log, newest first; POST predicts for one row."""

    scope = Scope.PREDICT
    serializer_class = PredictionSerializer
    filter_form = PredictionFilter

    def get_queryset(self) -> PredictionQuerySet:
        return PredictionFilter(self.request.query_params).predictions()

    @extend_schema(
        parameters=[
            OpenApiParameter("model", {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}),
            OpenApiParameter(LABEL, bool),
            OpenApiParameter("source", str, enum=Channel.values),
            OpenApiParameter("scoring_job", {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}),
            OpenApiParameter(
                REFERENCE.name,
                {"type": "string", "pattern": _REFERENCE_PATTERN},
                description="Exactly this reference.",
            ),
            OpenApiParameter(
                "anonymous",
                bool,
                description="Requests of nobody who had signed in or sent a token, where people sign in.",
            ),
            OpenApiParameter(
                "find", {"type": "string", "pattern": _REFERENCE_PATTERN}, description="An id or a reference."
            ),
            OpenApiParameter("outcome", str, enum=Known.values, description="What is known of what really happened."),
            OpenApiParameter("probability_from", {"type": "number", "minimum": 0, "maximum": 1}),
            OpenApiParameter("probability_to", {"type": "number", "minimum": 0, "maximum": 1}),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description=moments.HELP),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description=moments.HELP),
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request={"application/json": _ROW},
        responses={201: AnswerSerializer},
    )
    def post(self, request: Request) -> Response:
        raw, text = _object(request.data), request.headers.get(HEADER)
        if text is None:
            (answer,) = services.predict(services.parse_one(raw))
            return Response(answer, status=status.HTTP_201_CREATED)
        encoded, is_known = services.predict_idempotent(
            lambda: services.parse_one(raw),
            key=Key.of(text, caller=caller_of(request), body=raw),
            encode=lambda answers: msgspec.json.encode(answers[0]),
        )
        headers = REPLAYED if is_known else {}
        return Response(msgspec.Raw(encoded), status=status.HTTP_201_CREATED, headers=headers)

    def reads_key(self) -> bool:
        return True


class PredictionBatch(View):
    """Predict for many rows at once: for all, or none."""

    scope = Scope.PREDICT

    @extend_schema(
        request={"application/json": batch_schema(_ROW, most=services.MAX_BATCH)}, responses=BatchAnswerSerializer
    )
    def post(self, request: Request) -> Response:
        instances, text = _instances(request.data), request.headers.get(HEADER)
        if text is None:
            return Response(_batch_answer(services.predict(services.parse_batch(instances))))
        # Of ten thousand rows an answer has 5 MB, and a tenth of that packed.
        packed, is_known = services.predict_idempotent(
            lambda: services.parse_batch(instances),
            key=Key.of(text, caller=caller_of(request), body=instances),
            encode=lambda answers: zlib.compress(msgspec.json.encode(_batch_answer(answers)), level=1),
        )
        return Response(msgspec.Raw(zlib.decompress(packed)), headers=REPLAYED if is_known else {})

    def reads_key(self) -> bool:
        return True


class PredictionDetail(View):
    """One logged prediction."""

    @extend_schema(responses=PredictionSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(PredictionSerializer(log.get(pk)).data)


class PredictionExplanation(View):
    """Explain an answer: each field's contribution (Shapley values), and what another value would have changed."""

    is_throttled = True

    @extend_schema(responses=explanation.Explanation)
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(explanation.explain(log.get(pk)))


class PredictionOutcome(View):
    """What really happened: 201 the first time, 200 for the same again, 409 for another."""

    scope = Scope.PREDICT

    @extend_schema(responses=OutcomeSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(OutcomeSerializer(generics.get_object_or_404(Outcome, prediction_id=pk)).data)

    @extend_schema(request=OutcomeSerializer, responses={200: OutcomeSerializer, 201: OutcomeSerializer})
    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        data = validate_body(OutcomeSerializer, request)
        outcome, is_new = outcomes.record(pk, actual=data["actual"], by=current_user(request))
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(OutcomeSerializer(outcome).data, status=code)


class OutcomeList(View):
    """Record what really happened to many, by `prediction_id` or by the caller's `reference`, as a list or as CSV.

    Safe to repeat: the same outcome again is `unchanged`. What is unknown, ambiguous (a reference of several
    predictions) or conflicts with what is recorded is counted and named, and holds up no other. An element of a wrong
    form rejects a whole list; a wrong line of CSV is counted as invalid, and one without an outcome as empty.
    """

    scope = Scope.PREDICT
    parser_classes = (JSONParser, CSVParser, MultiPartParser)

    @extend_schema(
        request={
            "application/json": outcomes_schema(),
            "text/csv": OpenApiTypes.STR,
            "multipart/form-data": UploadSerializer,
        },
        responses=outcomes.OutcomeSummary,
    )
    def post(self, request: Request) -> Response:
        by, body = current_user(request), cast("object", request.data)
        if isinstance(body, io.BytesIO):
            return Response(outcomes.record_file(body, by=by))
        if isinstance(body, MultiValueDict):
            return Response(outcomes.record_file(validate_body(UploadSerializer, request)["file"], by=by))
        return Response(outcomes.record_list(body, by=by))


class OutcomeCorrection(View):
    """Replace a wrong outcome: 404 where none is recorded."""

    @extend_schema(request=OutcomeSerializer, responses=OutcomeSerializer)
    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        data = validate_body(OutcomeSerializer, request)
        return Response(OutcomeSerializer(outcomes.correct(pk, actual=data["actual"], by=current_user(request))).data)


class ShadowComparison(View):
    """Compare a challenger's answers with the logged ones, on the same predictions."""

    @extend_schema(responses=ModelComparison)
    def get(self, request: Request, version: int) -> Response:
        model = generics.get_object_or_404(ModelVersion, version=version)
        compared = shadow.comparison(model)
        if compared is None:
            raise Conflict(_("%(version)s has no shadow scores yet.") % {"version": model})
        return Response(compared.figures)


class ScoringJobList(ListView[ScoringJob]):
    """Scoring jobs, newest first; POST starts one."""

    scope = Scope.PREDICT
    serializer_class = ScoringJobSerializer
    query = JobQuery
    parser_classes = (MultiPartParser,)

    def get_queryset(self) -> JobQuerySet[ScoringJob]:
        return ScoringJob.objects.visible_to(self.request)

    @extend_schema(request={"multipart/form-data": ScoringUploadSerializer}, responses={202: ScoringJobSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        options = dict(validate_body(ScoringUploadSerializer, request))
        options["is_explained"] = options.pop("explain")
        job = services.queue_scoring(by=current_user(request), **options)
        return accepted(job, ScoringJobSerializer, request=request)


class ScoringJobDetail(DetailView[ScoringJob]):
    """One scoring job."""

    serializer_class = ScoringJobSerializer

    def get_queryset(self) -> JobQuerySet[ScoringJob]:
        return ScoringJob.objects.visible_to(self.request)


class ScoringJobCancel(View):
    """Stop a job: parts in progress are discarded, those scored before stay in the log; 409 when it has ended.

    Allowed for the user who sent the file, and for tokens with the scope to operate.
    """

    scope = Scope.PREDICT

    @extend_schema(request=None, responses=ScoringJobSerializer)
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        job = generics.get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk)
        job.cancel()
        return Response(ScoringJobSerializer(job).data)


class ScoringJobDelete(View):
    """Delete a job that is over, with its file and results; its predictions stay in the log. 409 before it has ended.

    Allowed for the user who sent the file, and for tokens with the scope to operate.
    """

    scope = Scope.PREDICT

    @extend_schema(request=None, responses={204: None})
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        # It takes a second to import.
        from predictions import scoring

        scoring.delete(generics.get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ScoringJobResults(View):
    """A finished job's file: the input plus the answers."""

    content_negotiation_class = FileNegotiation

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, pk: int) -> StreamingHttpResponse:
        return results_response(generics.get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk))


def _batch_answer(answers: list[services.Answer]) -> dict[str, object]:
    return {"predictions": answers, "drift": drift_state.note()}


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": [("not_an_object", _("Must be an object of fields."))]})
    return body


def _instances(sent: object) -> list[dict[str, Any]]:
    """A batch's rows, each an object; raises Invalid."""
    if not isinstance(sent, dict):
        message = _('Must be an object with the rows in a list: {"instances": [...]}.')
        raise Invalid({"non_field_errors": [("not_an_object", message)]})
    body = sent
    errors = unknown_fields(set(body) - {"instances"}, known=("instances",))
    instances = body.get("instances")
    if not isinstance(instances, list):
        errors["instances"] = [("required", _("Must be a list of objects."))]
        raise Invalid(errors)
    for index, instance in enumerate(instances):
        if not isinstance(instance, dict):
            errors[f"instances.{index}"] = [("not_an_object", _("Must be an object of fields."))]
    if errors:
        raise Invalid(errors)
    return instances


urlpatterns = [
    path("predictions/", PredictionList.as_view(), name="api_predictions"),
    path("predictions/batch/", PredictionBatch.as_view()),
    path("predictions/<uuid:pk>/", PredictionDetail.as_view()),
    path("predictions/<uuid:pk>/explanation/", PredictionExplanation.as_view()),
    path("predictions/<uuid:pk>/outcome/", PredictionOutcome.as_view()),
    path("predictions/<uuid:pk>/outcome/correct/", OutcomeCorrection.as_view()),
    path("outcomes/", OutcomeList.as_view()),
    path("shadow/<int:version>/", ShadowComparison.as_view()),
    path("scoring-jobs/", ScoringJobList.as_view()),
    path("scoring-jobs/<int:pk>/", ScoringJobDetail.as_view()),
    path("scoring-jobs/<int:pk>/cancel/", ScoringJobCancel.as_view()),
    path("scoring-jobs/<int:pk>/delete/", ScoringJobDelete.as_view()),
    path("scoring-jobs/<int:pk>/results.csv", ScoringJobResults.as_view()),
]
