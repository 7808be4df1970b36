"""The page of one version: the head that each tab has, and what each tab shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from training import card, charts
from training.apps import TrainingConfig
from training.forms import AnnotationForm
from training.models import ModelVersion, Stage, StageChange
from training.report import figures, group_label, key_figures, worst_slices

Context = dict[str, object]


@dataclass(frozen=True)
class Tab:
    """A part of the page with an address of its own: its template, and what it shows beside the head."""

    label: str | Promise
    template: str
    context: Callable[[ModelVersion], Context]
    has_charts: bool = False


def head(model: ModelVersion) -> Context:
    """Return what every tab begins with: state, verdict, and the main figures beside the champion's."""
    champion = None if model.stage == Stage.CHAMPION else ModelVersion.objects.champion_validation()
    verdict = model.verdict
    return {
        "model": model,
        "metrics": model.evaluation,
        "verdict": verdict,
        "failed_checks": verdict.failed if verdict else [],
        "key_figures": key_figures(model.evaluation.cross_validation, champion),
        "champion": champion,
    }


def _overview(model: ModelVersion) -> Context:
    metrics = model.evaluation
    slices = metrics.slices.cross_validation
    worst = worst_slices(slices)
    return {
        "form": AnnotationForm(instance=model),
        "worst": [row for name in worst for row in slices if row.slice == name],
        "live": TrainingConfig.live_accuracy([model.version]).get(model.version),
        "important": metrics.importance[:3],
    }


def _evaluation(model: ModelVersion) -> Context:
    metrics = model.evaluation
    lines = {_("Cross-validation"): metrics.curves.cross_validation, _("Hold-out"): metrics.curves.hold_out}
    return {
        "figures": figures(metrics),
        "group_label": group_label(metrics),
        "curves": charts.curves(lines),
        "threshold": charts.threshold(metrics.threshold),
    }


def _segments(model: ModelVersion) -> Context:
    slices = model.evaluation.slices
    return {
        "worst_slices": worst_slices(slices.cross_validation),
        "worst_holdout_slices": worst_slices(slices.hold_out),
    }


def _explain(model: ModelVersion) -> Context:
    return {"importance": charts.importance(model.evaluation.importance), "inputs": model.evaluation.inputs}


def _gate(model: ModelVersion) -> Context:
    verdict = model.verdict
    return {"checks": sorted(verdict.checks, key=lambda check: check.passed) if verdict else []}


def _nothing_more(_model: ModelVersion) -> Context:
    return {}


def _lineage(model: ModelVersion) -> Context:
    return {"reproductions": model.reproductions.all()[:10]}


def _deployments(model: ModelVersion) -> Context:
    return {"changes": StageChange.objects.filter(version=model).select_related("by")}


def _card(model: ModelVersion) -> Context:
    return {"card": card.html(card.markdown(model))}


OVERVIEW = "overview"
TABS: Mapping[str, Tab] = {
    OVERVIEW: Tab(gettext_lazy("Overview"), "model_detail_overview.html", _overview),
    "evaluation": Tab(gettext_lazy("Evaluation"), "model_detail_evaluation.html", _evaluation, has_charts=True),
    "segments": Tab(gettext_lazy("Segments"), "model_detail_slices.html", _segments),
    "explain": Tab(gettext_lazy("Explain"), "model_detail_importance.html", _explain, has_charts=True),
    "gate": Tab(gettext_lazy("Gate"), "model_detail_gate.html", _gate),
    "training": Tab(gettext_lazy("Training"), "model_detail_training.html", _nothing_more),
    "lineage": Tab(gettext_lazy("Lineage"), "model_detail_lineage.html", _lineage),
    "deployments": Tab(gettext_lazy("Deployments"), "model_detail_stages.html", _deployments),
    "card": Tab(gettext_lazy("Card"), "model_detail_card.html", _card),
}
