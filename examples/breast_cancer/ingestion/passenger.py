"""What is measured of a tumour: the one declaration that form, API, contract, admin and tables are derived from.

The Breast Cancer Wisconsin (Diagnostic) data of W. Wolberg, W. Street and O. Mangasarian (UCI, CC BY 4.0), which lies
inside the scikit-learn wheel. Ten properties of the nuclei in an image of a fine needle aspirate; of each the mean, its
standard error, and the mean of the three largest ("worst").
"""

from collections.abc import Mapping
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ingestion.contract import InFiles, Rule, Value

#: The model's name in the Open Inference Protocol and in downloads.
MODEL_NAME = "breast_cancer"
KEY = "patient_id"
LABEL = "malignant"
#: What the label's values false and true are called.
LABEL_WORDS = (_("benign"), _("malignant"))
#: Rows are independent of each other.
GROUP: str | None = None
#: No rule of thumb that a model has to beat.
BASELINE: tuple[str, Value] | None = None
#: Nothing here is worth asking "what if" about: nobody chooses these values.
IMMUTABLE: tuple[str, ...] = ()
#: A table must have every column.
DERIVABLE: tuple[str, ...] = ()
#: Files write the fields as they are declared, but for the key and the label.
IN_FILES: Mapping[str, InFiles] = {
    KEY: InFiles(headings=("id",)),
    LABEL: InFiles(headings=("diagnosis",), values={"m": 1, "b": 0, "malignant": 1, "benign": 0}),
}
#: Headings of known tables that are no field.
OTHER_HEADINGS: tuple[str, ...] = ()
#: Nothing is judged over several fields.
RULES: tuple[Rule, ...] = ()


def _measurement(label: Any, *, most: float) -> "models.FloatField[float | None, float | None]":
    return models.FloatField(label, null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(most)])


class PassengerFields(models.Model):
    """What is known of a tumour before the diagnosis."""

    mean_radius = _measurement(_("Mean radius"), most=300)
    mean_texture = _measurement(_("Mean texture"), most=400)
    mean_perimeter = _measurement(_("Mean perimeter"), most=2000)
    mean_area = _measurement(_("Mean area"), most=30000)
    mean_smoothness = _measurement(_("Mean smoothness"), most=2)
    mean_compactness = _measurement(_("Mean compactness"), most=4)
    mean_concavity = _measurement(_("Mean concavity"), most=5)
    mean_concave_points = _measurement(_("Mean concave points"), most=3)
    mean_symmetry = _measurement(_("Mean symmetry"), most=4)
    mean_fractal_dimension = _measurement(_("Mean fractal dimension"), most=1)
    radius_error = _measurement(_("Radius error"), most=30)
    texture_error = _measurement(_("Texture error"), most=50)
    perimeter_error = _measurement(_("Perimeter error"), most=300)
    area_error = _measurement(_("Area error"), most=6000)
    smoothness_error = _measurement(_("Smoothness error"), most=0.4)
    compactness_error = _measurement(_("Compactness error"), most=2)
    concavity_error = _measurement(_("Concavity error"), most=4)
    concave_points_error = _measurement(_("Concave points error"), most=0.6)
    symmetry_error = _measurement(_("Symmetry error"), most=0.8)
    fractal_dimension_error = _measurement(_("Fractal dimension error"), most=0.3)
    worst_radius = _measurement(_("Worst radius"), most=400)
    worst_texture = _measurement(_("Worst texture"), most=500)
    worst_perimeter = _measurement(_("Worst perimeter"), most=3000)
    worst_area = _measurement(_("Worst area"), most=50000)
    worst_smoothness = _measurement(_("Worst smoothness"), most=3)
    worst_compactness = _measurement(_("Worst compactness"), most=20)
    worst_concavity = _measurement(_("Worst concavity"), most=20)
    worst_concave_points = _measurement(_("Worst concave points"), most=3)
    worst_symmetry = _measurement(_("Worst symmetry"), most=7)
    worst_fractal_dimension = _measurement(_("Worst fractal dimension"), most=3)

    class Meta:
        abstract = True


class LabelledPassenger(PassengerFields):
    """A tumour with the key and the label of a loaded table; the label is None where the table has none."""

    patient_id = models.CharField(_("Patient"), max_length=40)
    malignant = models.BooleanField(_("Malignant"), null=True)

    class Meta:
        abstract = True


MEASUREMENTS = tuple(column.name for column in PassengerFields._meta.local_fields)
#: A tumour to try the API with: the first of the sample.
EXAMPLE = dict(
    zip(
        MEASUREMENTS,
        (
            17.99, 10.38, 122.8, 1001, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871,
            1.095, 0.9053, 8.589, 153.4, 0.006399, 0.04904, 0.05373, 0.01587, 0.03003, 0.006193,
            25.38, 17.33, 184.6, 2019, 0.1622, 0.6656, 0.7119, 0.2654, 0.4601, 0.1189,
        ),
        strict=True,
    )
)  # fmt: skip

#: Rows that the form can start from, by what they are called.
EXAMPLES = {_("A malignant tumour"): EXAMPLE}


def describe(tumour: Any) -> str:
    """Return a tumour in a few words."""
    return f"{tumour.mean_radius} µm" if tumour.mean_radius is not None else "?"


#: What a model card says of this table: subject, intended uses, uses out of scope, ethics, limits.
SUBJECT = _("Which breast tumours are malignant, from an image of a fine needle aspirate.")
USES = (_("Learning how this system is carried over to another table."),)
OUT_OF_SCOPE = (_("Diagnosis: no decision about a patient may rest on it."),)
ETHICS = (_("The rows are real patients of one clinic, without names."),)
LIMITS = (_("569 patients of one clinic in Wisconsin, in the early 1990s."),)
