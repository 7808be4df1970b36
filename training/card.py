"""The model card: one Markdown text, shown as HTML and handed out as it is.

The headings follow Model Cards for Model Reporting (Mitchell and others, 2019) and the cards of Hugging Face.
"""

import re

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt

from features.definition import CODES
from ingestion.passenger import ETHICS, LABEL, LIMITS, OUT_OF_SCOPE, SUBJECT, USES
from ingestion.schema import VERBOSE_NAMES
from training.models import ModelVersion
from training.report import figures, group_label, worst_slices

_SPECIAL = re.compile(r"([\\`*_\[\]<>|&~])")


def markdown(version: ModelVersion) -> str:
    """Write the whole card."""
    metrics, spec = version.evaluation, version.run.spec
    slices = metrics.slices.cross_validation
    worst = worst_slices(slices)
    context = {
        "model": version,
        "metrics": metrics,
        "batch": version.feature_batch,
        "dataset": version.feature_batch.dataset,
        "subject": SUBJECT,
        "label": VERBOSE_NAMES[LABEL],
        "uses": USES,
        "out_of_scope": OUT_OF_SCOPE,
        "ethics": ETHICS,
        "limits": LIMITS,
        "codes": CODES,
        "group": group_label(metrics),
        "figures": figures(metrics),
        "worst": worst,
        "slices": sorted(slices, key=lambda row: (row.slice not in worst, -row.log_loss)),
        "command": f"manage.py train --algorithm {spec.algorithm} --seed {spec.seed} --candidates {spec.candidates}",
    }
    return render_to_string("model_card.md", context)


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
