"""The model card: one Markdown text, shown as HTML and handed out as it is.

The headings follow Model Cards for Model Reporting (Mitchell and others, 2019) and the cards of Hugging Face.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from markdown_it import MarkdownIt

from features.definition import CODES
from ingestion.passenger import ETHICS, LABEL, LIMITS, OUT_OF_SCOPE, SUBJECT, USES
from ingestion.schema import VERBOSE_NAMES
from training.metrics import Estimate, Metrics
from training.models import ModelVersion
from training.report import figures, group_label, worst_slices

_SPECIAL = re.compile(r"([\\`*_\[\]<>|&~])")


def markdown(version: ModelVersion) -> str:
    """Write the whole card."""
    metrics = version.evaluation
    holdout_size = ngettext(
        "The hold-out has %(count)d row: a difference of a few points between two models is chance.",
        "The hold-out has %(count)d rows: a difference of a few points between two models is chance.",
        metrics.hold_out.rows,
    ) % {"count": metrics.hold_out.rows}
    to_watch = _("Monitor the drift of the inputs, and evaluate again when outcomes are known.")
    sections = {
        _("Model details"): _facts(
            {
                _("Version"): version.version,
                _("Stage"): version.get_stage_display(),
                _("Created"): f"{version.created_at:%Y-%m-%d %H:%M} UTC",
                _("Predicts"): _("the probability of “%(label)s”; yes from %(threshold).2f")
                % {"label": VERBOSE_NAMES[LABEL], "threshold": version.threshold},
                **version.parameters,
                _("Bytes of the ONNX file"): version.byte_count,
                _("Licence"): "Apache-2.0",
            }
        ),
        _("Uses"): f"{_('Meant for:')}\n\n{_bullets(USES)}\n\n{_('Not meant for:')}\n\n{_bullets(OUT_OF_SCOPE)}",
        _("Training data"): _data(version, metrics),
        _("Features"): _features(metrics),
        _("Evaluation"): _evaluation(version, metrics),
        _("Where it fails"): _failures(metrics),
        _("Ethical considerations"): _bullets(ETHICS),
        _("Limits and recommendations"): _bullets([*LIMITS, holdout_size, to_watch]),
        _("How to reproduce"): _reproduction(version),
    }
    title = f"# {_('Model card')}: {plain(version)}"
    return "\n\n".join([title, plain(SUBJECT), *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def html(text: str) -> SafeString:
    """Render a card's Markdown as HTML; HTML within it is escaped and stays text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        # The Content-Security-Policy lets no style attribute through.
        if token.attrs.pop("style", None):
            token.attrSet("class", "number")
    return SafeString(parser.renderer.render(tokens, parser.options, {}))


def plain(text: object) -> str:
    r"""Put a foreign text on one line that Markdown shows as it is.

    >>> plain("a_b\n<b>|")
    'a\\_b \\<b\\>\\|'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _data(version: ModelVersion, metrics: Metrics) -> str:
    batch, group = version.feature_batch, group_label(metrics)
    facts = _facts(
        {
            _("Dataset"): f"{batch.dataset} ({batch.dataset.name})",
            _("SHA-256 of the file"): batch.dataset.sha256,
            _("Rows"): batch.row_count,
            _("Training rows"): metrics.cross_validation.rows,
            _("Hold-out rows"): metrics.hold_out.rows,
            _("Feature batch"): batch,
            _("Checksum of the features"): batch.checksum,
        }
    )
    if not group:
        return facts
    text = _("Rows with the same %(group)s are never split between training and hold-out.")
    return f"{facts}\n\n{text % {'group': plain(group)}}"


def _features(metrics: Metrics) -> str:
    text = _("All are derived by one definition at training and at serving; what is unknown is imputed in the model.")
    head = [_("Feature"), _("Kind"), _("Rise of log loss when shuffled")]
    rows = [
        [
            plain(row.feature),
            _("code") if row.feature in CODES else _("number"),
            f"{row.mean:.4f} ± {row.spread:.4f}",
        ]
        for row in metrics.importance
    ]
    return f"{text}\n\n{_table(head, rows)}"


def _evaluation(version: ModelVersion, metrics: Metrics) -> str:
    method = _(
        "Cross-validation of %(folds)d folds, repeated %(repeats)d times, stratified; and once on %(holdout)d hold-out"
        " rows. In brackets: 95 %% intervals."
    ) % {
        "folds": metrics.cross_validation.folds,
        "repeats": metrics.cross_validation.repeats,
        "holdout": metrics.hold_out.rows,
    }
    rows = figures(metrics)
    columns: dict[str, list[Estimate | None]] = {
        _("Cross-validation"): [figure.cross_validation for figure in rows],
        _("Hold-out"): [figure.hold_out for figure in rows],
    }
    if metrics.baseline:
        columns[_("Rule to beat")] = [figure.baseline for figure in rows]
    if metrics.ungrouped:
        columns[_("Ungrouped (optimistic)")] = [figure.ungrouped for figure in rows]
    cells = [
        [str(figure.label), *map(_estimate, estimates)]
        for figure, *estimates in zip(rows, *columns.values(), strict=True)
    ]
    parts = [method, _table([_("Figure"), *columns], cells)]
    if metrics.ungrouped:
        parts.append(
            _("Ungrouped figures are optimistic: related rows are on both sides of each split. Do not quote them.")
        )
    confusion = metrics.hold_out.confusion
    head = [_("At threshold %(value).2f") % {"value": version.threshold}, _("Predicted no"), _("Predicted yes")]
    counts = [
        [_("Actual no"), str(confusion.true_negative), str(confusion.false_positive)],
        [_("Actual yes"), str(confusion.false_negative), str(confusion.true_positive)],
    ]
    parts += [_table(head, counts), f"{_('Threshold')}: {plain(metrics.threshold.rule)}"]
    return "\n\n".join(parts)


def _failures(metrics: Metrics) -> str:
    text = _("Slices of the rows by cross-validation, the worst by log loss first.")
    worst = worst_slices(metrics.slices.cross_validation)
    head = [_("Slice"), _("Rows"), _("Observed rate"), _("Predicted"), _("Accuracy"), _("Log loss")]
    rows = [
        [
            f"**{plain(row.slice)}**" if row.slice in worst else plain(row.slice),
            str(row.rows),
            f"{row.share:.1%}",
            f"{row.predicted:.1%}",
            _estimate(Estimate(row.accuracy, None, row.low, row.high)),
            f"{row.log_loss:.3f}",
        ]
        for row in sorted(metrics.slices.cross_validation, key=lambda row: (row.slice not in worst, -row.log_loss))
    ]
    return f"{text}\n\n{_table(head, rows)}"


def _reproduction(version: ModelVersion) -> str:
    batch, spec = version.feature_batch, version.spec
    command = f"manage.py train --algorithm {spec.algorithm} --seed {spec.seed} --candidates {spec.candidates}"
    steps = [
        _("Check out the commit below and run `make install`; it pins the libraries."),
        _("Run `manage.py ingest` with the file whose SHA-256 is %(sha)s.") % {"sha": plain(batch.dataset.sha256)},
        _("Run `manage.py build_features`; the checksum must be %(sum)s.") % {"sum": plain(batch.checksum)},
        _("Run `%(command)s`; the ONNX file's SHA-256 must be %(sha)s.")
        % {"command": command, "sha": plain(version.sha256)},
        _("Or, where this version is stored: `manage.py reproduce %(version)s` does all of it and compares.")
        % {"version": version.version},
    ]
    numbered = "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))
    return f"{numbered}\n\n{_facts(version.made_with)}"


def _facts(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts.items())


def _bullets(sentences: Iterable[object]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _column in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    bounds = "" if estimate.low is None else f" ({estimate.low:.3f}–{estimate.high:.3f})"
    return f"{estimate.value:.3f}{bounds}"
