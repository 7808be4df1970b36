"""A stand-in for the service this product replaces: the same work for a request, in a Flask view.

A one-row DataFrame, scaled, through alibi-detect's KSDrift and a pickled forest of the size that it had, and a page of
the size that it had. Reads the folder in `OLD_SERVICE`: `model.pkl`, and what it learned from in `reference.pkl`.
"""

import os
import pickle
from pathlib import Path

import pandas as pd
from alibi_detect.cd import KSDrift
from flask import Flask, render_template_string, request
from prometheus_client import Counter
from sklearn.preprocessing import StandardScaler

FEATURES = (
    "Age", "Fare", "Pclass", "Sex", "Embarked", "Familysize",
    "Isalone", "HasCabin", "Title", "Pclass_Fare", "Age_Fare",
)  # fmt: skip
PAGE = "<!doctype html><title>Titanic</title><h1>{{ text }}</h1>" + "<p>A form with eleven fields.</p>" * 600
FOLDER = Path(os.environ["OLD_SERVICE"])

app = Flask(__name__)
predictions = Counter("old_prediction_count", "Predictions")
drifts = Counter("old_drift_count", "Requests that drifted")
model = pickle.loads((FOLDER / "model.pkl").read_bytes())
reference = pd.read_pickle(FOLDER / "reference.pkl")
scaler = StandardScaler().fit(reference)
detector = KSDrift(x_ref=scaler.transform(reference), p_val=0.05)


@app.post("/predict")
def predict() -> str:
    """Answer the form."""
    row = pd.DataFrame([[float(request.form[name]) for name in FEATURES]], columns=FEATURES)
    drift = detector.predict(scaler.transform(row))
    print("Drift Response : ", drift)
    if drift["data"]["is_drift"] == 1:
        drifts.inc()
    survived = model.predict(row)[0]
    predictions.inc()
    return render_template_string(PAGE, text="Survived" if survived else "Did not survive")
