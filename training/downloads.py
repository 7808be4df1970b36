"""Model files as downloads."""

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404
from django.utils.translation import gettext as _

from core.errors import Invalid
from ingestion.passenger import MODEL_NAME
from training.models import ModelVersion


def artifact_response(version: ModelVersion, suffix: str) -> FileResponse:
    """Serve the version's file as a download; raises Invalid for another format, Http404 when storage has lost it."""
    files = {"onnx": str(version.onnx_file.name), "pkl": str(version.pkl_file.name)}
    if suffix not in files:
        raise Invalid({"format": [("not_a_choice", _("Must be one of %(options)s.") % {"options": "onnx, pkl"})]})
    try:
        file = default_storage.open(files[suffix])
    except FileNotFoundError as error:
        raise Http404 from error
    return FileResponse(file, as_attachment=True, filename=f"{MODEL_NAME}-{version.version}.{suffix}")
