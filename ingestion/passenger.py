"""Who a passenger is: the one declaration that form, API, contract, admin and tables are derived from.

To carry the system over to a table of your own, replace this file, `features/definition.py` and the sample.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from ingestion import contract, json_validation
from ingestion.names import HONORIFIC, honorific, sex_of, title_of

KEY = "passenger_id"
LABEL = "survived"
# People on one ticket travelled, and mostly lived or died, together: they are never split.
GROUP = "ticket"
# The rule every model has to beat: women survive, men do not.
BASELINE = ("sex", "female")
# What nobody could have had otherwise: to change it is a question about the model, and no advice.
IMMUTABLE = ("sex", "age", "title")
_CHILD_BELOW, _GROWN_FROM, _PARENTS = 14, 15, 2


class PassengerClass(models.IntegerChoices):
    """Ticket class, the list's stand-in for wealth."""

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
    """Honorific, grouped; everything seldom is Rare."""

    MR = "Mr", _("Mr")
    MISS = "Miss", _("Miss")
    MRS = "Mrs", _("Mrs")
    MASTER = "Master", _("Master")
    RARE = "Rare", _("Rare")


class PassengerFields(models.Model):
    """What is known of a passenger before the voyage; a field with `null=True` may be unknown."""

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


def contradictions(passenger: Mapping[str, Any]) -> list[contract.Violation]:
    """What no single field shows: sex, title and name that exclude each other, with every field named.

    >>> [r.field for r in contradictions({"sex": "male", "title": "Mrs", "name": None})]
    ['sex', 'title']
    """
    sex, title, name = passenger["sex"], passenger["title"], passenger["name"]
    word = honorific(name)
    if title is not None and sex_of(title) not in (None, sex):
        message = gettext_noop("“%(title)s” is not said of someone who is %(sex)s: correct one of the two.")
        return contract.joint_violation(("sex", "title"), "contradiction", message, title=title, sex=sex)
    if word is not None and sex_of(word) not in (None, sex):
        message = gettext_noop("The name says “%(word)s”, the sex %(sex)s: correct one of the two.")
        return contract.joint_violation(("sex", "name"), "contradiction", message, word=word, sex=sex)
    if title is not None and word is not None and title_of(name) != title:
        message = gettext_noop("The name says “%(word)s”, the title “%(title)s”: correct one of the two.")
        return contract.joint_violation(("title", "name"), "contradiction", message, word=word, title=title)
    return []


def unlikely_family(passenger: Mapping[str, Any]) -> list[contract.Violation]:
    """Families that no distribution shows: a child with three parents, a child who is married, a boy grown old.

    >>> [r.field for r in unlikely_family({"age": 4.0, "parch": 3, "title": None, "name": None})]
    ['age', 'parch']
    """
    age, parch, name = passenger["age"], passenger["parch"], passenger["name"]
    title = passenger["title"] or title_of(name)
    named = "title" if passenger["title"] else "name"
    if age is None:
        return []
    if age < _CHILD_BELOW and parch > _PARENTS:
        message = gettext_noop("A child of %(age)s years with %(parch)s parents and children: correct one of the two.")
        return contract.joint_violation(("age", "parch"), "unlikely", message, age=age, parch=parch)
    if (age < _CHILD_BELOW and title == "Mrs") or (age >= _GROWN_FROM and title == "Master"):
        message = gettext_noop("Nobody of %(age)s years is called “%(title)s”: correct one of the two.")
        return contract.joint_violation(("age", named), "unlikely", message, age=age, title=title)
    return []


#: What is judged over several fields. What only looks unlikely is noted and loaded, unless a source refuses it.
RULES = (
    contract.Rule(contradictions, {"sex": None, "title": None, "name": HONORIFIC}),
    contract.Rule(unlikely_family, {"age": None, "parch": None, "title": None, "name": HONORIFIC}, severity="warning"),
)

#: The contract's fields, read off the declaration above.
FIELDS = contract.fields_of(PassengerFields)
FIELD_NAMES = tuple(field.name for field in FIELDS)
#: Reads many passengers at once, where the contract objects to none of them.
READER = json_validation.Reader(FIELDS, rules=RULES)
#: Somebody to try the doors with.
EXAMPLE = {
    "pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 211.3375, "embarked": "S",
    "cabin": "B5", "name": "Allen, Miss. Elisabeth Walton", "ticket": "24160",
}  # fmt: skip
#: What people call them.
VERBOSE_NAMES = {
    KEY: _("Passenger"),
    LABEL: _("Survived"),
    **{column.name: column.verbose_name for column in PassengerFields._meta.local_fields},
}

KEY_FIELD = contract.Field(KEY, "text", is_required=True, is_nullable=False, max_length=40)
LABEL_FIELD = contract.Field(LABEL, "choice", is_required=True, is_nullable=False, choices=(0, 1))
#: A table must have every other column; these can be worked out.
DERIVABLE = ("title",)


def to_columns(passengers: Sequence[Mapping[str, Any]]) -> contract.Columns:
    """Checked passengers as the typed columns that the features are derived from."""
    return contract.to_columns(FIELDS, {name: [row[name] for row in passengers] for name in FIELD_NAMES})


def columns_from_rows(rows: Sequence[json_validation.Row]) -> contract.Columns:
    """The same of passengers whose values come in the order of the fields."""
    return contract.to_columns(FIELDS, dict(zip(FIELD_NAMES, zip(*rows, strict=True), strict=True)))


def describe(passenger: Any) -> str:
    """A passenger in a few words: the name if it is known, else what is."""
    if passenger.name:
        return str(passenger.name)
    age = None if passenger.age is None else f"{passenger.age:g}"
    known = (passenger.get_sex_display(), passenger.get_pclass_display(), age)
    return ", ".join(str(part) for part in known if part is not None)


#: What a model card says of this table: what is asked, what for, what not for, what it means, where it ends.
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
