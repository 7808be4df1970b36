"""The pages of models: the sorted list, versions side by side, one version, the search while it runs."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.template import engines
from django.template.loader import render_to_string
from django.test import Client
from msgspec import structs
from playwright.sync_api import Page
from rest_framework.test import APIClient

from core.charts import Series, thinned
from core.jobs import State
from core.messages import Message
from core.models import Action, AuditEntry
from monitoring.models import PerformanceCheck
from tests.model_figures import WORST, metrics
from training import registry
from training.metrics import Check
from training.model_page import TABS
from training.models import ModelVersion, Stage, StageChange, TrainingRun
from training.report import LEAST_ROWS, worst_slices

HOSTILE = (
    "?sort=rubbish", "?sort=--version", "?sort=metrics__x", "?sort=-", "?sort=%00", "?sort=run__pk", "?from=-1",
    "?from=99999999999999999999", "?from=x", "?from=٣", "?compare=x", "?compare=-1", "?compare=%00",
    "?compare=99999999999999999999&compare=1", "?compare=2147483648&compare=1", "?compare=1&compare=1&compare=77",
    "?tag=%00", "?tag=" + "x" * 500,
    "?differences=%00&compare=1&compare=2",
    "?" + "compare=1&" * 500, "?compare=<script>alert(1)</script>", "?sort=<script>alert(1)</script>&compare=1",
)  # fmt: skip


def make(champion: ModelVersion, version: int, **fields: Any) -> ModelVersion:
    """Another version of the champion's file."""
    run = TrainingRun.objects.create(feature_batch=champion.feature_batch, seed=version)
    values = {field.name: getattr(champion, field.name) for field in ModelVersion._meta.fields if field.name != "id"}
    return ModelVersion.objects.create(
        **{**values, "version": version, "run": run, "stage": Stage.CANDIDATE, "gate": None, **fields}
    )


@pytest.fixture
def measured(champion: ModelVersion) -> ModelVersion:
    champion.metrics = metrics()
    champion.gate = {
        "passed": True, "rows": 261, "looks": 4,
        "checks": [{"name": "no worse", "passed": False, "detail": "log loss 0.4460 against 0.4400"}],
    }  # fmt: skip
    champion.save()
    return champion


def test_a_model_that_needs_no_calibration_says_nothing_of_it(measured: ModelVersion, client: Client) -> None:
    measured.metrics["calibration"] = {"chosen": "none", "log_loss": {"none": 0.45}}
    measured.save()

    page = client.get(measured.get_absolute_url())

    assert page.status_code == 200
    assert "Calibration chosen" not in page.text


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture(autouse=True)
def _undefined_variables_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Undefined(str):
        __slots__ = ()

        def __mod__(self, name: object) -> str:
            pytest.fail(f"undefined variable in a template: {name}")

    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", Undefined("%s"))  # type: ignore[attr-defined]


def words(response: Any) -> str:
    """What a person reads."""
    return " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", response.text, flags=re.DOTALL)).split())


def order(client: Client, query: str) -> list[int]:
    return [row.model.version for row in client.get(f"/models/?{query}").context["page"].rows]


class TestList:
    """Versions, sorted by the server."""

    @pytest.fixture(autouse=True)
    def _versions(self, measured: ModelVersion) -> None:
        make(measured, 2, metrics=metrics(better=0.02))
        make(measured, 3, metrics=metrics(better=-0.02))

    def test_the_newest_is_first(self, client: Client) -> None:
        assert order(client, "") == [3, 2, 1]

    def test_it_sorts_by_every_column_both_ways(self, client: Client) -> None:
        assert order(client, "sort=version") == [1, 2, 3]
        assert order(client, "sort=created") == [1, 2, 3]
        assert order(client, "sort=-accuracy") == [2, 1, 3]
        assert order(client, "sort=log_loss") == [3, 1, 2]
        assert order(client, "sort=-stage") == [1, 3, 2]

    def test_the_heading_says_how_it_is_sorted_and_turns_it_round(self, client: Client) -> None:
        page = client.get("/models/?sort=-accuracy&compare=2")

        headings = {str(column.label): column for column in page.context["columns"]}
        assert headings["Accuracy"].aria_sort == "descending"
        assert 'href="?sort=accuracy&amp;compare=2"' in page.text
        assert headings["Log loss"].aria_sort == "none"
        assert 'href="?sort=log_loss&amp;compare=2"' in page.text
        assert page.text.count('aria-sort="descending"') == 1

    def test_figures_are_by_cross_validation_with_their_spread(self, client: Client) -> None:
        assert "0.832 ± 0.004" in words(client.get("/models/"))

    @pytest.mark.parametrize("query", HOSTILE)
    def test_a_strange_address_is_an_ordinary_page(self, client: Client, query: str) -> None:
        page = client.get(f"/models/{query}")

        assert page.status_code == 200
        assert "<script>alert" not in page.text

    def test_four_queries_and_five_for_a_comparison(self, client: Client, django_assert_num_queries: Any) -> None:
        # The top bar, the list, the champion to compare with, the live accuracy; and the chosen ones.
        with django_assert_num_queries(4):
            client.get("/models/?sort=-accuracy")
        with django_assert_num_queries(5):
            client.get("/models/?compare=1&compare=2&compare=3")


def test_long_lists_go_on_in_the_same_order(client: Client, measured: ModelVersion) -> None:
    for version in range(2, 49):
        make(measured, version, metrics=metrics(better=-version / 1000))

    first = client.get("/models/?sort=-accuracy").context["page"]
    second = client.get(f"/models/?{first.next_page}").context["page"]

    assert [row.model.version for row in [*first.rows, *second.rows]] == list(range(1, 49))
    assert not second.next_page
    assert second.is_later_page


def test_a_place_beyond_the_end_leads_back_to_the_top(client: Client, measured: ModelVersion) -> None:
    page = client.get("/models/?from=500")

    assert "To the top" in words(page)
    assert "No model yet" not in words(page)


class TestComparison:
    """What sets versions apart."""

    @pytest.fixture
    def second(self, measured: ModelVersion) -> ModelVersion:
        parameters = {**measured.parameters, "max_depth": 99, "new_one": True}
        made_with = {**measured.made_with, "numpy": "0.0.1"}
        return make(measured, 2, metrics=metrics(better=0.03), parameters=parameters, made_with=made_with)

    def test_one_alone_is_asked_for_another(self, client: Client, second: ModelVersion) -> None:
        page = client.get("/models/?compare=2")

        assert page.context["compared"] is None
        assert "at least two" in words(page)
        assert "charts.js" not in page.text

    def test_curves_figures_parameters_libraries_and_data_stand_side_by_side(
        self, client: Client, second: ModelVersion
    ) -> None:
        compared = client.get("/models/?compare=2&compare=1").context["compared"]

        assert [model.version for model in compared.versions] == [2, 1]
        assert [chart.name for chart in compared.charts] == ["roc", "precision_recall", "calibration", "importance"]
        assert [line.label for line in compared.charts[0].series] == ["Model 2", "Model 1", "Chance"]
        differing = {str(fact.name) for fact in [*compared.parameters, *compared.libraries] if fact.differs}
        assert differing == {"max_depth", "new_one", "numpy"}
        assert not any(fact.differs for fact in compared.origins)
        assert second.feature_batch.checksum in [fact.values[0] for fact in compared.origins]

    def test_the_best_of_a_row_is_marked_whichever_way_is_better(self, client: Client, second: ModelVersion) -> None:
        compared = client.get("/models/?compare=1&compare=2").context["compared"]

        best = {str(row.label): [is_best for _estimate, is_best in row.cells] for row in compared.figures}
        assert best["Accuracy"] == [False, True]
        assert best["Log loss"] == [True, False]

    def test_what_lies_within_anothers_interval_is_not_the_best(self, client: Client, measured: ModelVersion) -> None:
        make(measured, 2, metrics=metrics(better=0.015))

        compared = client.get("/models/?compare=1&compare=2").context["compared"]

        assert not any(is_best for row in compared.figures for _estimate, is_best in row.cells)

    def test_an_interval_that_its_figure_lies_outside_of_is_not_shown(
        self, client: Client, measured: ModelVersion
    ) -> None:
        measured.metrics["hold_out"]["intervals"]["ece"] = [0.047, 0.108]
        measured.save()

        assert "0.047" not in words(client.get("/models/1/?tab=evaluation"))

    def test_equal_ones_are_not_told_apart(self, client: Client, second: ModelVersion) -> None:
        holdout = client.get("/models/?compare=1&compare=2").context["compared"].holdout_figures

        assert not any(is_best for row in holdout for _estimate, is_best in row.cells)

    def test_segments_stand_beside_each_other_and_equal_rows_can_be_left_out(
        self, client: Client, second: ModelVersion
    ) -> None:
        address = "/models/?compare=1&compare=2"
        whole = client.get(address).context["compared"]
        differing = client.get(f"{address}&differences=1")

        compared = differing.context["compared"]
        assert str(whole.slices[0].label) == "Sex: female"
        assert [len(row.cells) for row in whole.slices] == [2] * len(whole.slices)
        assert {str(fact.name) for fact in compared.parameters} == {"max_depth", "new_one"}
        assert (compared.slices, compared.origins) == ([], [])
        assert "Show everything" in words(differing)

    def test_no_more_than_can_be_told_apart(self, client: Client, measured: ModelVersion) -> None:
        for version in range(2, 9):
            make(measured, version)

        page = client.get("/models/?" + "&".join(f"compare={version}" for version in range(1, 9)))

        assert len(page.context["compared"].versions) == page.context["most_chosen"] == 6


class TestOne:
    """A version's page: a head, and tabs with an address each."""

    def test_every_tab_opens_and_an_unknown_one_is_the_first(self, client: Client, measured: ModelVersion) -> None:
        for name in (*TABS, "x", "\0"):
            page = client.get("/models/1/", {"tab": name})

            assert page.status_code == 200
            assert page.context["tab_name"] == (name if name in TABS else "overview")

    def test_it_says_first_why_it_was_not_promoted(self, client: Client, measured: ModelVersion) -> None:
        detail = {
            "text": "x %(champion)s",
            "parameters": {
                "champion": {"text": "Model 1"}, "difference": 0.0076, "low": -0.016, "high": 0.0309, "margin": 0.02,
            },
        }  # fmt: skip
        checks = [
            {"name": "latency", "passed": True, "detail": "fast"},
            {"name": "no worse than the champion", "passed": False, "detail": detail},
        ]
        refused = make(measured, 2, gate={"passed": False, "rows": 261, "looks": 4, "checks": checks})

        page = client.get(refused.get_absolute_url())
        gate = words(client.get(f"{refused.get_absolute_url()}?tab=gate"))

        text = words(page)
        assert "Not promoted: worse than Model 1 in log loss by 0.0076 (95 % upper bound 0.0309" in text
        assert text.index("Not promoted") < text.index("Accuracy")
        assert gate.index("No worse than the champion") < gate.index("Latency")

    def test_what_is_not_proved_is_not_called_worse(self) -> None:
        parameters = {"champion": "Model 1", "difference": -0.001, "high": 0.0309, "margin": 0.02}
        check = Check("no worse than the champion", passed=False, detail=Message("x", parameters))

        assert str(check.problem).startswith("not proved to be no worse than Model 1")

    def test_its_figures_stand_beside_the_champions(self, client: Client, measured: ModelVersion) -> None:
        make(measured, 2, metrics=metrics(better=0.05))

        text = words(client.get("/models/2/"))

        assert "Accuracy 0.862 0.842–0.882 +0.050 better" in text
        assert "Log loss 0.496 0.476–0.516 +0.050 worse" in text
        assert "difference to the champion, Model 1" in text
        assert words(client.get("/models/1/")).count("better") == 0

    def test_it_says_how_good_it_is_and_how_sure_that_is(self, client: Client, measured: ModelVersion) -> None:
        text = words(client.get("/models/1/?tab=evaluation"))

        assert "0.812 ± 0.004 0.792–0.832" in text
        assert "0.812 0.762–0.862 0.780" in text
        assert "Ungrouped Optimistic" in text
        assert "do not quote" in text
        assert "Actual no 140 21" in text
        assert "Recall 70.0%" in text
        assert "no other is better by more than its spread" in text
        assert "Calibration chosen: sigmoid" in text

    def test_the_gate_says_what_it_saw_and_how_often(self, client: Client, measured: ModelVersion) -> None:
        text = words(client.get("/models/1/?tab=gate"))

        assert "Failed no worse log loss 0.4460 against 0.4400" in text
        assert "hold-out of 261 rows “better” can rarely be proved" in text
        assert "used 4 times" in text

    def test_segments_and_trials_are_there(self, client: Client, measured: ModelVersion) -> None:
        assert f"{WORST} Worst" in words(client.get("/models/1/?tab=segments"))
        text = words(client.get("/models/1/?tab=training"))
        assert "24 candidates in 61.4 s" in text
        assert "14 more" in text

    @pytest.mark.parametrize(
        ("tab", "charts"),
        [("evaluation", ["roc", "precision_recall", "calibration", "threshold"]), ("explain", ["importance"]),
         ("overview", [])],
    )  # fmt: skip
    def test_the_pictures_are_data_in_the_page_and_tables_for_those_who_do_not_see(
        self, client: Client, measured: ModelVersion, tab: str, charts: list[str]
    ) -> None:
        page = client.get(f"/models/1/?tab={tab}")

        drawn = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page.text)]
        assert [chart["name"] for chart in drawn] == charts
        assert (
            page.text.count('<canvas role="img" aria-label="') == page.text.count("As a table or a file") == len(charts)
        )
        assert ("charts.js" in page.text) == bool(charts)

    def test_a_challenger_asks_for_its_shadow_and_others_do_not(self, client: Client, measured: ModelVersion) -> None:
        make(measured, 2, stage=Stage.CHALLENGER)

        assert 'hx-get="/predictions/shadow/2/"' in client.get("/models/2/?tab=deployments").text
        assert "/predictions/shadow/" not in client.get("/models/1/?tab=deployments").text

    def test_hostile_names_in_figures_stay_text(self, client: Client, measured: ModelVersion) -> None:
        attack = "</script><img src=x onerror=alert(1)>"
        measured.metrics["slices"]["cross_validation"][0]["slice"] = attack
        measured.metrics["importance"][0]["feature"] = attack
        measured.metrics["threshold"]["rule"] = attack
        measured.save()

        for tab in TABS:
            page = client.get(f"/models/1/?tab={tab}")
            assert page.status_code == 200
            assert "<img src=x" not in page.text
        assert html.escape(attack) in client.get("/models/1/?tab=explain").text

    def test_each_tab_asks_the_database_for_what_it_shows(
        self, client: Client, measured: ModelVersion, django_assert_num_queries: Any
    ) -> None:
        for tab in TABS:
            with django_assert_num_queries(2 + (tab in ("overview", "lineage", "deployments"))):
                client.get(f"/models/1/?tab={tab}")


class TestChanges:
    """What a person confirms, and what people note of a version."""

    @pytest.fixture
    def refused(self, measured: ModelVersion) -> ModelVersion:
        checks = [{"name": "latency", "passed": False, "detail": "9 ms"}]
        return make(measured, 2, gate={"passed": False, "rows": 261, "looks": 4, "checks": checks})

    def test_a_promotion_names_consequence_and_failed_checks_and_wants_a_reason(
        self, client: Client, refused: ModelVersion
    ) -> None:
        asked = client.get("/models/2/promote/")
        without = client.post("/models/2/promote/", {"reason": " "})
        refused.refresh_from_db()
        assert (without.status_code, refused.stage) == (400, Stage.CANDIDATE)

        client.post("/models/2/promote/", {"reason": "Tested by hand."})

        text = words(asked)
        assert "Promote Model 2 to champion?" in text
        assert "It failed the gate" in text
        assert "Latency: 9 ms" in text
        assert "It replaces Model 1" in text
        assert "This field is required." in words(without)
        refused.refresh_from_db()
        assert refused.stage == Stage.CHAMPION
        assert StageChange.objects.get(version=refused).reason == "Tested by hand."
        assert "Serving: promoted although it failed the gate" in words(client.get("/models/2/"))

    def test_a_version_that_passed_wants_none(self, client: Client, measured: ModelVersion) -> None:
        make(measured, 2, gate={"passed": True, "rows": 1, "looks": 1, "checks": []})

        assert client.post("/models/2/promote/")["Location"] == "/models/2/"

    def test_a_rollback_names_its_target_and_goes_nowhere_else(
        self, client: Client, measured: ModelVersion, refused: ModelVersion
    ) -> None:
        assert client.get("/models/rollback/").status_code == 409
        registry.promote(refused, by=None)

        text = words(client.get("/models/rollback/"))
        elsewhere = client.post("/models/rollback/", {"target": "7"})
        there = client.post("/models/rollback/", {"target": "1"})

        assert "Roll back to Model 1?" in text
        assert "Model 2 is retired" in text
        assert elsewhere.status_code == 409
        assert there["Location"] == "/models/1/"

    def test_a_retirement_is_confirmed(self, client: Client, refused: ModelVersion) -> None:
        assert "Retire Model 2?" in words(client.get("/models/2/retire/"))
        client.post("/models/2/retire/", {"reason": "slow"})

        refused.refresh_from_db()
        assert refused.stage == Stage.RETIRED

    def test_tags_and_notes_are_saved_filtered_by_and_audited(
        self, client: Client, measured: ModelVersion, refused: ModelVersion
    ) -> None:
        client.post("/models/2/annotate/", {"tags": "slow, <b>,slow", "notes": "Too slow."})
        wrong = client.post("/models/2/annotate/", {"tags": "x" * 41, "notes": ""})

        refused.refresh_from_db()
        assert (refused.tags, refused.notes) == (["slow", "<b>"], "Too slow.")
        assert wrong.status_code == 400
        assert "at most 40 characters" in words(wrong)
        assert order(client, "tag=slow") == [2]
        assert order(client, "tag=fast") == []
        assert AuditEntry.objects.get(action=Action.CHANGED).after["tags"] == "slow, <b>"

    def test_tags_and_notes_are_changed_by_the_api(self, api: APIClient, refused: ModelVersion) -> None:
        address = "/api/v1/models/2/annotate/"
        answer = api.post(address, {"tags": ["a", "a"]}, format="json")
        wrong = [
            api.post(address, body, format="json").status_code
            for body in ({"tags": ["x" * 41]}, {"tags": "a"}, {"tags": ["\0"]}, {"notes": None}, {"stage": "champion"})
        ]

        assert (answer.status_code, answer.json()["tags"], answer.json()["notes"]) == (200, ["a"], "")
        assert wrong == [400] * 5

    def test_the_accuracy_on_live_outcomes_stands_in_the_list_and_on_the_page(
        self, client: Client, measured: ModelVersion
    ) -> None:
        figures = {"overall": {"figures": {"accuracy": {"mean": 0.765, "low": 0.7, "high": 0.81}}}}
        for accuracy in (0.5, 0.765):
            figures["overall"]["figures"]["accuracy"]["mean"] = accuracy
            PerformanceCheck.objects.create(
                version=measured, state=State.SUCCEEDED, outcome_count=40, figures=figures, accuracy=accuracy
            )

        for address in ("/models/", "/models/1/"):
            assert "0.765 40 outcomes" in words(client.get(address))


def test_few_rows_are_never_the_worst_slice(measured: ModelVersion) -> None:
    tiny, *others = measured.evaluation.slices.cross_validation
    tiny = structs.replace(tiny, rows=LEAST_ROWS - 1, log_loss=9.9)

    worst = worst_slices([tiny, *others])

    assert tiny.slice not in worst
    assert WORST in worst


def test_a_training_shows_how_far_its_search_is() -> None:
    search = {"tried": 12, "of": 24, "best": {"log_loss": 0.44612, "parameters": {"max_depth": 5, "leaf": 0.5}}}

    text = render_to_string("run_search.html", {"search": search})

    assert 'value="12"' in text
    assert "12 of 24 candidates tried" in text
    assert "0.446 with" in " ".join(text.split())
    assert "max_depth 5" in text


def test_a_run_has_its_page_with_a_search_and_without(client: Client, champion: ModelVersion) -> None:
    tried = f"{champion.run.search['tried']} of {champion.run.search['of']} candidates tried"
    assert tried in client.get(champion.run.get_absolute_url()).text

    TrainingRun.objects.update(search=None)

    assert "Search for parameters" not in client.get(champion.run.get_absolute_url()).text


def test_the_library_of_charts_comes_with_its_package() -> None:
    assert "site-packages" in str(finders.find("unfold/js/chart/chart.js"))


def test_thinning_keeps_short_series_and_the_ends_of_long_ones() -> None:
    assert thinned(Series("a", [1, 2], [3, 4])) == [(1, 3, ""), (2, 4, "")]
    assert [x for x, _y, _bounds in thinned(Series("a", range(500), range(500)))][::11] == [0, 499]
    moments = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(500)]
    assert [x for x, _y, _bounds in thinned(Series("a", moments, range(500)))][::23] == [moments[0], moments[-1]]


def is_drawn(page: Page) -> list[bool]:
    """Of each chart, whether anything is painted on its canvas."""
    script = """() => [...document.querySelectorAll("canvas")].map((canvas) =>
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0))"""
    is_painted: list[bool] = page.evaluate(script)
    return is_painted


@pytest.mark.parametrize(("path", "charts"), [("/models/1/?tab=evaluation", 4), ("/models/?compare=1&compare=2", 4)])
def test_a_browser_draws_them_under_our_policy_in_light_and_dark_on_a_telephone(
    measured: ModelVersion, page: Page, path: str, charts: int
) -> None:
    make(measured, 2, metrics=metrics(better=0.02))
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))

    answer = page.goto(path)
    page.wait_for_function(
        "document.querySelectorAll('canvas').length && Chart.getChart(document.querySelector('canvas'))"
    )
    light = page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "light => Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor !== light", arg=light
    )

    assert answer is not None
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert is_drawn(page) == [True] * charts
    page.get_by_text("As a table or a file").first.click()
    files = []
    for kind in ("CSV", "PNG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save as {kind}").first.click()
        files.append(download.value.path().read_bytes())
    header, *rows = files[0].decode("utf-8-sig").splitlines()
    assert header.startswith("series,")
    assert len(rows) > 1
    assert files[1].startswith(b"\x89PNG")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []


def test_a_long_title_of_an_axis_stands_in_lines_that_fit(measured: ModelVersion, page: Page) -> None:
    make(measured, 2, metrics=metrics(better=0.02))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/models/?compare=1&compare=2", wait_until="networkidle")

    too_long = page.evaluate("""() => Object.values(Chart.instances).flatMap(({ ctx, scales: { x, y } }) =>
        [[x.options.title, x.width], [y.options.title, y.height]].flatMap(([{ display, text }, length]) =>
            display ? [text].flat().filter((line) => ctx.measureText(line).width > length) : []))""")

    assert too_long == []
    assert page.evaluate("Object.values(Chart.instances).at(-1).scales.x.options.title.text.length") > 1


def test_lineage_keeps_words_apart_and_pages_in_spanish_call_features_in_spanish(
    client: Client, measured: ModelVersion
) -> None:
    batch = measured.run.feature_batch
    assert f"Dataset {batch.dataset.pk} {batch.dataset.name}" in words(client.get("/models/1/?tab=lineage"))
    for tab in ("overview", "explain"):
        assert "Edad" in words(client.get(f"/models/1/?tab={tab}", headers={"Accept-Language": "es"}))


def test_the_card_breaks_no_policy_either(measured: ModelVersion, page: Page) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))

    page.goto("/models/1/card/")

    assert page.locator("h2").count() == 9
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
