"""Define the features of a passenger: training, store, form, API and scoring all derive them here."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.messages import Message
from ingestion.contract import gettext_noop

if TYPE_CHECKING:
    import pandas as pd

#: Raise it with every change of the features: a model never reads features of another version.
VERSION = "1"
FEATURES: tuple[str, ...] = (
    "Age", "Fare", "Pclass", "Sex", "Embarked", "Familysize",
    "Isalone", "HasCabin", "Title", "Pclass_Fare", "Age_Fare",
)  # fmt: skip
#: Features that are products or indicators of others: what shifts them shifts those first.
DERIVED: tuple[str, ...] = ("Isalone", "Pclass_Fare", "Age_Fare")

#: The inputs by name, and the fields of each: the title may be read from the name, so the two are one input.
INPUTS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("pclass", "sex", "age", "sibsp", "parch", "fare", "embarked", "cabin")},
    "title": ("title", "name"),
}

SEX = {"male": 0.0, "female": 1.0}
EMBARKED = {"C": 0.0, "Q": 1.0, "S": 2.0}
TITLE = {"Mr": 0.0, "Miss": 1.0, "Mrs": 2.0, "Master": 3.0, "Rare": 4.0}

#: Ages in years at which slices begin.
ADULT_AGE, MIDDLE_AGE = 16, 40
#: The features whose numbers are codes without an order, with the code of each category; there may be none.
CODES: Mapping[str, Mapping[str, float]] = {"Sex": SEX, "Embarked": EMBARKED, "Title": TITLE}


class Description(NamedTuple):
    """What people read of a feature that is no field of its own: its name, and how it is derived, both untranslated."""

    label: str
    formula: str


#: Features that are yes or no.
FLAGS: tuple[str, ...] = ("Isalone", "HasCabin")
#: The features that are derived; each other one is called as its field.
DESCRIPTIONS: Mapping[str, Description] = {
    "Familysize": Description(
        gettext_noop("Family size"), gettext_noop("siblings and spouses + parents and children + the passenger")
    ),
    "Isalone": Description(gettext_noop("Travels alone"), gettext_noop("whether the family size is 1")),
    "HasCabin": Description(gettext_noop("Cabin known"), gettext_noop("whether a cabin is given")),
    "Title": Description(
        gettext_noop("Title"), gettext_noop("as given, else from the name, else the usual one for sex and age")
    ),
    "Pclass_Fare": Description(gettext_noop("Class × fare"), gettext_noop("class × fare")),
    "Age_Fare": Description(gettext_noop("Age × fare"), gettext_noop("age × fare")),
}

Matrix = NDArray[np.float32]


def derive(columns: Mapping[str, NDArray[Any]]) -> Matrix:
    """Derive features, shape (n, number of FEATURES) with NaN for unknown, from typed passenger columns of n rows.

    >>> row = {"pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 211.5,
    ...        "embarked": "S", "cabin": "B5", "name": "Allen, Miss. Elisabeth Walton", "title": None}
    >>> derive({name: np.array([value]) for name, value in row.items()}).tolist()
    [[29.0, 211.5, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 211.5, 6133.5]]
    """
    age, fare, pclass = columns["age"], columns["fare"], columns["pclass"]
    family = columns["sibsp"] + columns["parch"] + 1
    features = [
        age,
        fare,
        pclass,
        _codes(SEX, columns["sex"].tolist()),
        _codes(EMBARKED, columns["embarked"].tolist()),
        family,
        family == 1,
        [cabin is not None for cabin in columns["cabin"].tolist()],
        _codes(TITLE, _titles(columns)),
        pclass * fare,
        age * fare,
    ]
    return np.ascontiguousarray(np.array(features, dtype=np.float32).T)


def slices(features: "pd.DataFrame") -> dict[str, NDArray[np.bool_]]:
    """Tell which of n rows belong to each group that a model should serve alike, shape (n,); there may be none.

    >>> import pandas as pd
    >>> allen = pd.DataFrame([[29, 211.5, 1, 1, 2, 1, 1, 1, 1, 211.5, 6133.5]], columns=list(FEATURES))
    >>> [name for name, members in slices(allen).items() if members.all()]
    ['Sex: female', 'Pclass: 1', 'Age: 16 to 39']
    """
    age, pclass, sex = features["Age"], features["Pclass"], features["Sex"]
    # The names are translated where they are shown.
    classes = (Message("Pclass: 1"), Message("Pclass: 2"), Message("Pclass: 3"))
    members = [
        (Message("Sex: male"), sex == SEX["male"]),
        (Message("Sex: female"), sex == SEX["female"]),
        *((name, pclass == number) for number, name in enumerate(classes, start=1)),
        (Message("Age: under 16"), age < ADULT_AGE),
        (Message("Age: 16 to 39"), age.between(ADULT_AGE, MIDDLE_AGE, inclusive="left")),
        (Message("Age: 40 and over"), age >= MIDDLE_AGE),
        (Message("Age: unknown"), age.isna()),
    ]
    return {name.text: rows.to_numpy() for name, rows in members}


def _codes(codes: Mapping[str, float], values: Iterable[str | None]) -> list[float]:
    unknown = np.nan
    return [codes.get(value, unknown) for value in values]  # type: ignore[arg-type]


def _titles(columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Take the given title, else the name's honorific, else the most frequent title for sex and age."""
    # A training's own process has no Django, and derives nothing.
    from ingestion.passenger import likely_title, title_of

    title_by_name = {name: title_of(name) for name in set(columns["name"].tolist())}
    people = zip(*(columns[name].tolist() for name in ("title", "name", "sex", "age")), strict=True)
    # Imputed by the most frequent title, every nameless woman would be a Mr: accuracy 0.747 instead of 0.806
    # (docs/decisions/0004-title-of-the-nameless.md).
    return [title or title_by_name[name] or likely_title(sex, age) for title, name, sex, age in people]
