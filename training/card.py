"""The model card: one Markdown text, shown as HTML and handed out as it is.

The headings follow Model Cards for Model Reporting (Mitchell and others, 2019) and the cards of Hugging Face.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from markdown_it import MarkdownIt

from features.definition import FEATURES, NOMINAL
from ingestion.passenger import ETHICS, LABEL, LIMITS, OUT_OF_SCOPE, SUBJECT, USES, VERBOSE_NAMES
from training.models import ModelVersion
from training.report import Estimate, Report, Slice

_SPECIAL = re.compile(r"([\\`*_\[\]<>|&~])")
_PLACES = 3


def markdown(version: ModelVersion) -> str:
    """The whole card."""
    report = Report.of(version)
    sections = {
        _("Model details"): _details(version),
        _("Uses"): _uses(),
        _("Training data"): _data(version, report),
        _("Features"): _features(report),
        _("Evaluation"): _evaluation(version, report),
        _("Where it fails"): _failures(report),
        _("Ethical considerations"): _bullets(ETHICS),
        _("Limits and recommendations"): _limits(report),
        _("How to reproduce"): _reproduction(version),
    }
    title = f"# {_('Model card')}: {plain(version)}"
    return "\n\n".join([title, plain(SUBJECT), *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def html(text: str) -> SafeString:
    """A card's Markdown as HTML; HTML within it is escaped and stays text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        # The Content-Security-Policy lets no style attribute through.
        if token.attrs.pop("style", None):
            token.attrSet("class", "number")
    return SafeString(parser.renderer.render(tokens, parser.options, {}))


def plain(text: object) -> str:
    r"""A foreign text on one line that Markdown shows as it stands.

    >>> plain("a_b\n<b>|")
    'a\\_b \\<b\\>\\|'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _details(version: ModelVersion) -> str:
    facts = {
        _("Version"): version.version,
        _("Stage"): version.get_stage_display(),
        _("Created"): f"{version.created_at:%Y-%m-%d %H:%M} UTC",
        _("Answers"): _("the probability of “%(label)s”; yes from %(threshold).2f")
        % {"label": VERBOSE_NAMES[LABEL], "threshold": version.threshold},
        **version.parameters,
        _("Bytes of the ONNX file"): version.byte_count,
        _("Licence"): "Apache-2.0",
    }
    return _facts(facts.items())


def _uses() -> str:
    return f"{_('Meant for:')}\n\n{_bullets(USES)}\n\n{_('Not meant for:')}\n\n{_bullets(OUT_OF_SCOPE)}"


def _data(version: ModelVersion, report: Report) -> str:
    batch = version.feature_batch
    facts = {
        _("Dataset"): f"{batch.dataset} ({batch.dataset.name})",
        _("SHA-256 of the file"): batch.dataset.sha256,
        _("Passengers"): batch.row_count,
        _("Learned from"): report.rows,
        _("Held out"): report.holdout_rows,
        _("Feature batch"): batch,
        _("Checksum of the features"): batch.checksum,
    }
    said = _("Passengers with the same %(group)s are never split between learning and judging.")
    group = f"\n\n{said % {'group': plain(report.grouped_by)}}" if report.grouped_by else ""
    return _facts((name, value) for name, value in facts.items() if value not in (None, "")) + group


def _features(report: Report) -> str:
    importance = {row["feature"]: row for row in report.importance}
    said = _("All are derived by one definition at training and at serving; what is unknown is imputed in the model.")
    head = [_("Feature"), _("Kind"), _("Rise of log loss when shuffled")]
    rows = [
        [plain(name), _("code") if name in NOMINAL else _("number"), _spread(importance.get(name))]
        for name in sorted(FEATURES, key=lambda name: -importance.get(name, {"mean": 0})["mean"])
    ]
    return f"{said}\n\n{_table(head, rows)}"


def _evaluation(version: ModelVersion, report: Report) -> str:
    parts = [_method(report), _figures(report)]
    if report.has_ungrouped:
        parts.append(
            _("Ungrouped figures are optimistic: families stand on both sides of each split. Do not quote them.")
        )
    if report.confusion:
        said = report.confusion
        head = [_("At threshold %(value).2f") % {"value": version.threshold}, _("Said no"), _("Said yes")]
        rows = [
            [_("Was no"), str(said.true_negative), str(said.false_positive)],
            [_("Was yes"), str(said.false_negative), str(said.true_positive)],
        ]
        parts.append(_table(head, rows))
    if report.threshold:
        parts.append(f"{_('Threshold')}: {plain(report.threshold['rule'])}")
    return "\n\n".join(parts)


def _method(report: Report) -> str:
    if report.folds is None:
        return _("How it was measured is not written down.")
    return _(
        "Cross-validation of %(folds)d folds, repeated %(repeats)d times, stratified and grouped by %(group)s; and once"
        " on %(held)s passengers held out. In brackets: 95 %% intervals."
    ) % {
        "folds": report.folds,
        "repeats": report.repeats,
        "group": plain(report.grouped_by),
        "held": report.holdout_rows or "–",
    }


def _figures(report: Report) -> str:
    head = [_("Figure"), _("Cross-validation"), _("Hold-out"), _("Rule to beat")]
    if report.has_ungrouped:
        head.append(_("Ungrouped (optimistic)"))
    rows = []
    for figure in report.figures:
        found = [figure.cross_validation, figure.hold_out, figure.baseline, figure.ungrouped]
        rows.append([str(figure.label), *(_estimate(one) for one in found[: len(head) - 1])])
    return _table(head, rows)


def _failures(report: Report) -> str:
    if not report.slices:
        return _("Not measured for this version.")
    said = _("Slices of the passengers by cross-validation, the worst by log loss first.")
    rows = sorted(report.slices, key=lambda row: (not row.is_worst, -row.log_loss))
    head = [_("Slice"), _("Passengers"), _("Happened"), _("Said"), _("Accuracy"), _("Log loss")]
    return f"{said}\n\n{_table(head, [_slice(row) for row in rows])}"


def _slice(row: Slice) -> list[str]:
    name = f"**{plain(row.slice)}**" if row.is_worst else plain(row.slice)
    shares = [f"{row.share:.1%}", f"{row.predicted:.1%}"]
    return [name, str(row.rows), *shares, _estimate(row.accuracy), f"{row.log_loss:.3f}"]


def _limits(report: Report) -> str:
    limits: list[Any] = [*LIMITS]
    if report.holdout_rows:
        limits.append(
            ngettext(
                "The hold-out has %(count)d passenger: a difference of a few points between two models is chance.",
                "The hold-out has %(count)d passengers: a difference of a few points between two models is chance.",
                report.holdout_rows,
            )
            % {"count": report.holdout_rows}
        )
    limits.append(_("Watch the drift of what is asked, and judge again when outcomes are known."))
    return _bullets(limits)


def _train_command(version: ModelVersion) -> str:
    spec = version.spec
    return f"manage.py train --algorithm {spec.algorithm} --seed {spec.seed} --candidates {spec.candidates}"


def _reproduction(version: ModelVersion) -> str:
    batch = version.feature_batch
    steps = [
        _("Check out the commit below and run `make install`; it pins the libraries."),
        _("Run `manage.py ingest` with the file whose SHA-256 is %(sha)s.") % {"sha": plain(batch.dataset.sha256)},
        _("Run `manage.py build_features`; the checksum must be %(sum)s.") % {"sum": plain(batch.checksum)},
        _("Run `%(command)s`; the ONNX file's SHA-256 must be %(sha)s.")
        % {"command": _train_command(version), "sha": plain(version.sha256)},
        _("Or, where this version is kept: `manage.py reproduce %(version)s` does all of it and compares.")
        % {"version": version.version},
    ]
    numbered = "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))
    return f"{numbered}\n\n{_facts(version.made_with.items())}"


def _facts(facts: Iterable[tuple[Any, Any]]) -> str:
    return "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts)


def _bullets(sentences: Iterable[Any]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _column in head[1:])]
    return "\n".join(_lines([head, ruler, *rows]))


def _lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    return (f"| {' | '.join(row)} |" for row in rows)


def _spread(found: Any) -> str:
    return f"{found['mean']:.4f} ± {found['spread']:.4f}" if found else "–"


def _estimate(found: Estimate | None) -> str:
    if found is None:
        return "–"
    bounds = "" if found.low is None else f" ({found.low:.{_PLACES}f}–{found.high:.{_PLACES}f})"
    return f"{found.value:.{_PLACES}f}{bounds}"
