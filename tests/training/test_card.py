"""The model card: one text, as Markdown and as a page."""

import re
from typing import Any

import pytest
from django.test import Client

from features.definition import FEATURES
from ingestion.models import Dataset
from tests.model_figures import WORST, metrics
from training import card
from training.models import ModelVersion

ATTACK = "x\n\n# Fine |<script>alert(1)</script>| [here](javascript:alert(1)) ![](//e.example/x.png) `a` **b** &lt;"


@pytest.fixture
def measured(champion: ModelVersion) -> ModelVersion:
    champion.metrics = metrics()
    champion.save()
    return champion


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_it_says_what_from_what_for_whom_how_good_where_not_and_how_again(measured: ModelVersion) -> None:
    text = card.markdown(measured)

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Model details", "Uses", "Training data", "Features", "Evaluation", "Where it fails",
        "Ethical considerations", "Limits and recommendations", "How to reproduce",
    ]  # fmt: skip
    assert "Not meant for" in section(text, "Uses")
    assert measured.feature_batch.checksum in section(text, "Training data")
    assert all(f"| {card.plain(name)} |" in section(text, "Features") for name in FEATURES)
    assert "| Accuracy | 0.812 (0.792–0.832) | 0.812 (0.762–0.862) | 0.780 | 0.832 |" in section(text, "Evaluation")
    assert measured.sha256 in section(text, "How to reproduce")
    assert measured.made_with["commit"] in section(text, "How to reproduce")


def test_ungrouped_figures_are_marked_optimistic(measured: ModelVersion) -> None:
    evaluation = section(card.markdown(measured), "Evaluation")

    assert "Ungrouped (optimistic)" in evaluation
    assert "Do not quote" in evaluation


def test_the_worst_slices_come_first_and_in_bold(measured: ModelVersion) -> None:
    rows = section(card.markdown(measured), "Where it fails").splitlines()

    assert rows[5].startswith(f"| **{WORST}** |")


def test_the_page_is_the_same_text_as_html(client: Client, measured: ModelVersion) -> None:
    page = client.get("/models/1/card/")

    assert page.status_code == 200
    assert str(card.html(card.markdown(measured))) in page.text
    assert page.text.count("<h1>") == 1
    assert "/models/1/card.md" in page.text
    assert 'href="?tab=card"' in client.get("/models/1/").text


def test_the_file_is_markdown_to_download(client: Client, measured: ModelVersion) -> None:
    file = client.get("/models/1/card.md")

    assert file["Content-Type"] == "text/markdown; charset=utf-8"
    assert file["Content-Disposition"] == 'attachment; filename="model-1.md"'
    assert file.text == card.markdown(measured)


def test_hostile_names_stay_text(client: Client, measured: ModelVersion) -> None:
    Dataset.objects.update(name=ATTACK[:200])
    measured.metrics["slices"]["cross_validation"][0]["slice"] = ATTACK
    measured.metrics["threshold"]["rule"] = ATTACK
    measured.parameters[ATTACK] = ATTACK
    measured.made_with["commit"] = ATTACK
    measured.save()

    page = client.get("/models/1/card/").text
    prose = page.partition('<article class="prose">')[2].partition("</article>")[0]

    assert re.findall(r"<(script|img|a|b|em)\b", prose) == []
    assert "style=" not in prose
    assert prose.count("<h1>") == 1
    # The text itself is shown as it stands, in one cell.
    assert "&lt;script&gt;alert(1)&lt;/script&gt;| [here](javascript:alert(1))" in prose
    assert "&amp;lt;" in prose
    widths = {row.count("<td") for row in re.findall(r"<tr>.*?</tr>", prose.partition("Where it fails")[2], re.DOTALL)}
    assert widths == {0, 6}


@pytest.mark.parametrize("path", ["card/", "card.md"])
def test_there_is_no_card_of_no_version_and_none_is_posted(client: Client, measured: ModelVersion, path: str) -> None:
    assert client.get(f"/models/77/{path}").status_code == 404
    assert client.post(f"/models/1/{path}").status_code == 405


@pytest.mark.parametrize(("path", "count"), [("card/", 2), ("card.md", 1)])
def test_one_query_and_one_of_the_top_bar(
    client: Client, measured: ModelVersion, path: str, count: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(count):
        client.get(f"/models/1/{path}")
