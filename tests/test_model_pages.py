"""The pages of models: list, comparison, one version, its search."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.template import engines
from django.template.loader import render_to_string
from django.test import Client
from playwright.sync_api import Browser, sync_playwright

from tests.model_figures import WORST, metrics
from tests.test_life import CHROMIUM
from titanic_site.lib.charts import Chart, Series
from training import comparison
from training.models import ModelVersion, Stage, TrainingRun
from training.report import Report
