"""Declare a passenger once: form, API, contract, admin and tables are derived from this file.

To carry the system over to a table of your own, replace this file, `features/definition.py` and the sample.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from ingestion import contract

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

#: The model's name in the Open Inference Protocol and in downloads.
MODEL_NAME = "titanic"
KEY = "passenger_id"
LABEL = "survived"
#: What the label's values false and true are called.
LABEL_WORDS = (_("did not survive"), _("survived"))
#: The field whose equal values stay together in every split (people on one ticket); None: rows are independent.
GROUP: str | None = "ticket"
#: The rule that a model has to beat, as field and value (women survive, men do not); None: no such rule.
BASELINE: tuple[str, contract.Value] | None = ("sex", "female")
#: Fields that no advice may change: to alter them is a question about the model only.
IMMUTABLE: tuple[str, ...] = ("sex", "age", "title")
#: Columns that a table may lack: they are derived from others.
DERIVABLE: tuple[str, ...] = ("title",)

#: How files write the fields: headings and spellings of the lists of Kaggle, OpenML, Stanford, R and seaborn.
IN_FILES: Mapping[str, contract.InFiles] = {
    KEY: contract.InFiles(headings=("id", "passenger no", "passenger number")),
    LABEL: contract.InFiles(
        headings=("survival", "survived?", "has survived"),
        values={"survived": 1, "alive": 1, "died": 0, "dead": 0, "lost": 0, "perished": 0, "did not survive": 0},
    ),
    "pclass": contract.InFiles(
        headings=("passenger class", "class", "ticket class", "travel class"),
        values={
            "1st": 1, "2nd": 2, "3rd": 3, "first": 1, "second": 2, "third": 3, "i": 1, "ii": 2, "iii": 3,
            "1st class": 1, "2nd class": 2, "3rd class": 3, "first class": 1, "second class": 2, "third class": 3,
            "class 1": 1, "class 2": 2, "class 3": 3,
        },
    ),
    "sex": contract.InFiles(
        headings=("gender",),
        values={
            "m": "male", "man": "male", "men": "male", "boy": "male", "männlich": "male", "mann": "male",
            "masculino": "male", "hombre": "male", "masculin": "male", "homme": "male",
            "f": "female", "woman": "female", "women": "female", "girl": "female", "w": "female", "weiblich": "female",
            "frau": "female", "femenino": "female", "mujer": "female", "féminin": "female", "femme": "female",
        },
    ),
    "age": contract.InFiles(
        headings=("age (years)", "age in years", "age [years]", "passenger age"),
        units=("years old", "years", "year", "yrs", "yr", "y", "jahre", "años", "ans"),
    ),
    "sibsp": contract.InFiles(
        headings=(
            "siblings/spouses aboard", "siblings and spouses aboard", "siblings/spouses", "sib sp",
            "number of siblings/spouses aboard", "no of siblings or spouses on board", "siblings or spouses aboard",
        )
    ),
    "parch": contract.InFiles(
        headings=(
            "parents/children aboard", "parents and children aboard", "parents/children", "par ch",
            "number of parents/children aboard", "no of parents or children on board", "parents or children aboard",
        )
    ),
    "fare": contract.InFiles(
        headings=("ticket fare", "passenger fare", "fare (pounds)", "fare paid", "ticket price"),
        units=("pounds", "pound"),
    ),
    "embarked": contract.InFiles(
        headings=("port of embarkation", "embark town", "port", "embarkation port", "embarkation"),
        values={"cherbourg": "C", "queenstown": "Q", "southampton": "S", "cobh": "Q"},
    ),
    "cabin": contract.InFiles(headings=("cabin no", "cabin number", "cabin nr")),
    "name": contract.InFiles(headings=("full name", "passenger name", "name of passenger")),
    "title": contract.InFiles(headings=("honorific",), values={"mlle": "Miss", "ms": "Miss", "mme": "Mrs"}),
    "ticket": contract.InFiles(headings=("ticket no", "ticket number", "ticket nr", "ticketno")),
}  # fmt: skip
#: Headings of known lists that are no field: what they say is in others, became known too late, or is not used.
OTHER_HEADINGS: tuple[str, ...] = (
    "boat", "body", "home.dest", "class", "who", "adult_male", "deck", "embark_town", "alive", "alone", "lifeboat",
    "hometown", "destination", "country", "occupation", "wikiid",
)  # fmt: skip

# Honorifics that need no full stop, at the beginning of a name or after the family name's comma, and rarer ones.
_USUAL = "mrs?|miss|ms|mlle|mme|master|dr|rev"
_RARE = "don|dona|sir|lady|jonkheer|capt|captain|col|colonel|major|countess|the countess|prof|count|baron"
#: The part of a name that holds the honorific; the rules read only this.
HONORIFIC = rf"(?i)^\s*({_USUAL})(?:\.|\s)|^\s*({_RARE})\.|[,;\t]\s*({_USUAL})(?:\.|\s|$)|[,;\t]\s*([^.,;]+?)\s*\."
_HONORIFIC = re.compile(HONORIFIC)
_MALE = frozenset({"Mr", "Master", "Rev", "Don", "Sir", "Jonkheer", "Capt", "Col", "Major"})
_FEMALE = frozenset({"Miss", "Mrs", "Mlle", "Mme", "Ms", "Lady", "Dona", "Countess", "the Countess"})
_CASES = {word.lower(): word for word in (*_MALE, *_FEMALE, "Dr")}
_TITLE_GROUPS = {
    "Mr": "Mr", "Miss": "Miss", "Ms": "Miss", "Mlle": "Miss",
    "Mrs": "Mrs", "Mme": "Mrs", "Master": "Master",
}  # fmt: skip
# Ages (years) at which the passenger list changes from Miss to Mrs, and from Master to Mr.
_MARRIED_FROM, _ADULT_FROM = 30, 13
# Ages (years) and a count of parents beyond which a family is unlikely.
_CHILD_BELOW, _MASTER_BELOW, _MAX_PARENTS = 14, 15, 2


class PassengerClass(models.IntegerChoices):
    """Ticket class: the only measure of wealth in the list."""

    FIRST = 1, _("First")
    SECOND = 2, _("Second")
    THIRD = 3, _("Third")


class Sex(models.TextChoices):
    """As recorded in the passenger list."""

    MALE = "male", _("Male")
    FEMALE = "female", _("Female")


class Port(models.TextChoices):
    """Where the passenger came aboard."""

    CHERBOURG = "C", _("Cherbourg")
    QUEENSTOWN = "Q", _("Queenstown")
    SOUTHAMPTON = "S", _("Southampton")


class Title(models.TextChoices):
    """Honorific, grouped; uncommon ones are Rare."""

    MR = "Mr", _("Mr")
    MISS = "Miss", _("Miss")
    MRS = "Mrs", _("Mrs")
    MASTER = "Master", _("Master")
    RARE = "Rare", _("Rare")


class PassengerFields(models.Model):
    """Fields known before the voyage; one with `null=True` may be unknown."""

    pclass = models.PositiveSmallIntegerField(
        _("Class"), choices=PassengerClass, help_text=_("Ticket class: 1, 2 or 3.")
    )
    sex = models.CharField(_("Sex"), max_length=6, choices=Sex, help_text=_("As recorded in the passenger list."))
    age = models.FloatField(
        _("Age"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(120)],
        help_text=_("In years; below one as a fraction. Leave empty if unknown."),
    )
    sibsp = models.PositiveSmallIntegerField(
        _("Siblings and spouses aboard"),
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(20)],
        help_text=_("Brothers, sisters, husband or wife travelling along."),
    )
    parch = models.PositiveSmallIntegerField(
        _("Parents and children aboard"),
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(20)],
        help_text=_("Mother, father, sons and daughters travelling along."),
    )
    fare = models.FloatField(
        _("Fare"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100_000)],
        help_text=_("In pounds, for the whole ticket. Leave empty if unknown."),
    )
    embarked = models.CharField(
        _("Port"),
        max_length=1,
        null=True,
        blank=True,
        choices=Port,
        help_text=_("Where the passenger came aboard: C, Q or S."),
    )
    cabin = models.CharField(
        _("Cabin"), max_length=60, null=True, blank=True, help_text=_("For example C85. Leave empty if unknown.")
    )
    name = models.CharField(
        _("Name"),
        max_length=200,
        null=True,
        blank=True,
        help_text=_("For example “Allen, Miss. Elisabeth Walton”; the honorific gives the title."),
    )
    title = models.CharField(
        _("Title"),
        max_length=6,
        null=True,
        blank=True,
        choices=Title,
        help_text=_("Leave empty to read it from the name."),
    )
    ticket = models.CharField(
        _("Ticket"), max_length=40, null=True, blank=True, help_text=_("Ticket number; not used by the model.")
    )

    class Meta:
        abstract = True


class LabelledPassenger(PassengerFields):
    """A passenger with the key and the label that a loaded table has; the label is None where the table has none."""

    passenger_id = models.CharField(_("Passenger"), max_length=40)
    survived = models.BooleanField(_("Survived"), null=True)

    class Meta:
        abstract = True


@lru_cache(maxsize=10_000)
def honorific(name: str | None) -> str | None:
    """Extract the honorific of a name, after the family name or before all others; None where it has none.

    >>> honorific("Allen, Miss. Elisabeth Walton"), honorific("Mrs. Ida Roe"), honorific("ROE, MR JAN")
    ('Miss', 'Mrs', 'Mr')
    >>> honorific("Elisabeth Walton Allen") is None
    True
    """
    match = _HONORIFIC.search(name) if name else None
    if match is None or match.lastindex is None:
        return None
    word = match[match.lastindex]
    return _CASES.get(word.lower(), word)


def title_of(name: str | None) -> str | None:
    """Group a name's honorific into a title; an uncommon one is Rare.

    >>> title_of("Sagesser, Mlle. Emma"), title_of("Byles, Rev. Thomas"), title_of("Nobody")
    ('Miss', 'Rare', None)
    """
    word = honorific(name)
    return None if word is None else _TITLE_GROUPS.get(word, "Rare")


def likely_title(sex: str, age: float | None) -> str:
    """Guess the title of a person without name and title: the most common one at that sex and age.

    >>> likely_title("female", 40.0), likely_title("male", float("nan")), likely_title("male", 4.0)
    ('Mrs', 'Mr', 'Master')
    """
    # Comparisons with NaN are false: an unknown age gives the common title.
    years = age if age is not None else float("nan")
    if sex == "female":
        return "Mrs" if years >= _MARRIED_FROM else "Miss"
    return "Master" if years < _ADULT_FROM else "Mr"


def sex_of(word: str | None) -> str | None:
    """Return the sex that an honorific implies; None where it implies neither.

    >>> sex_of("Mme"), sex_of("Rev"), sex_of("Dr")
    ('female', 'male', None)
    """
    if word in _MALE:
        return "male"
    return "female" if word in _FEMALE else None


def contradictions(passenger: Mapping[str, Any]) -> list[contract.Violation]:
    """Find sex, title and name that exclude each other; every field involved is named.

    >>> [violation.field for violation in contradictions({"sex": "male", "title": "Mrs", "name": None})]
    ['sex', 'title']
    """
    sex, title, name = passenger["sex"], passenger["title"], passenger["name"]
    word = honorific(name)
    if title is not None and sex_of(title) not in (None, sex):
        message = gettext_noop("The title “%(title)s” contradicts the sex %(sex)s: correct one of the two.")
        return contract.joint_violation(("sex", "title"), "contradiction", message, title=title, sex=sex)
    if word is not None and sex_of(word) not in (None, sex):
        message = gettext_noop("The name says “%(word)s”, the sex %(sex)s: correct one of the two.")
        return contract.joint_violation(("sex", "name"), "contradiction", message, word=word, sex=sex)
    if title is not None and word is not None and title_of(name) != title:
        message = gettext_noop("The name says “%(word)s”, the title “%(title)s”: correct one of the two.")
        return contract.joint_violation(("title", "name"), "contradiction", message, word=word, title=title)
    return []


def unlikely_family(passenger: Mapping[str, Any]) -> list[contract.Violation]:
    """Find unlikely combinations: a child with more than two parents, a married child, a boy who is grown up.

    >>> [v.field for v in unlikely_family({"age": 4.0, "parch": 3, "title": None, "name": None})]
    ['age', 'parch']
    """
    age, parch, name = passenger["age"], passenger["parch"], passenger["name"]
    title = passenger["title"] or title_of(name)
    title_field = "title" if passenger["title"] else "name"
    if age is None:
        return []
    if age < _CHILD_BELOW and parch > _MAX_PARENTS:
        message = gettext_noop("A child of %(age)s years with %(parch)s parents and children: correct one of the two.")
        return contract.joint_violation(("age", "parch"), "unlikely", message, age=age, parch=parch)
    if (age < _CHILD_BELOW and title == "Mrs") or (age >= _MASTER_BELOW and title == "Master"):
        message = gettext_noop("The age of %(age)s years does not fit the title “%(title)s”: correct one of the two.")
        return contract.joint_violation(("age", title_field), "unlikely", message, age=age, title=title)
    return []


#: Rules over several fields. A row that breaks a warning is loaded, unless its source rejects unlikely rows.
RULES = (
    contract.Rule(contradictions, {"sex": None, "title": None, "name": HONORIFIC}),
    contract.Rule(unlikely_family, {"age": None, "parch": None, "title": None, "name": HONORIFIC}, severity="warning"),
)

#: A passenger for the API's documentation and for the consistency check.
EXAMPLE: Mapping[str, contract.Value] = {
    "pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 211.3375, "embarked": "S",
    "cabin": "B5", "name": "Allen, Miss. Elisabeth Walton", "ticket": "24160",
}  # fmt: skip

#: Passengers that the form can start from, by what they are called.
EXAMPLES: Mapping["StrOrPromise", Mapping[str, contract.Value]] = {
    _("Miss Allen, first class"): EXAMPLE,
    _("Mr Braund, third class"): {
        "pclass": 3, "sex": "male", "age": 22, "sibsp": 1, "parch": 0, "fare": 7.25, "embarked": "S",
        "name": "Braund, Mr. Owen Harris", "ticket": "A/5 21171",
    },
    _("Mr Moran, age unknown"): {
        "pclass": 3, "sex": "male", "fare": 8.4583, "embarked": "Q", "name": "Moran, Mr. James", "ticket": "330877",
    },
    _("A woman, second class"): {"pclass": 2, "sex": "female"},
}  # fmt: skip


def describe(passenger: PassengerFields) -> str:
    """Describe a passenger in a few words: the name if it is known, else sex, class and age."""
    if passenger.name:
        return passenger.name
    age = None if passenger.age is None else f"{passenger.age:g}"
    known = (passenger.get_sex_display(), passenger.get_pclass_display(), age)
    return ", ".join(str(part) for part in known if part is not None)


#: What a model card says of this table: subject, intended uses, uses out of scope, ethics, limits.
SUBJECT = _("Who of the passengers of the Titanic survived the night of 14 April 1912, from what was known before.")
USES = (
    _("Learning and teaching how a model is trained, judged, served and watched."),
    _("Trying this system out before carrying it over to a table of one's own."),
)
OUT_OF_SCOPE = (
    _("Deciding anything about living people: insurance, rescue, travel."),
    _("Statements about causes: that women survived more often is in the list, why they did is not."),
)
ETHICS = (
    _("The passengers were real people, and most of them died; the public list has their names."),
    _("The model repeats the order of 1912, by sex, class and fare. It describes who was saved and justifies nothing."),
    _("Sex is known only as the list records it, and title follows from sex and marriage."),
)
LIMITS = (
    _("One voyage: nothing here says anything about another ship or another year."),
    _("The crew, about 900 people, is not in the list."),
    _("Age is unknown for one passenger in five, the cabin for three in four, and more often for those who died."),
)
