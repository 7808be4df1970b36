"""A named cast of real passengers; every test that needs one takes it from here."""

from typing import Any

#: First class, survived, everything known.
ELISABETH: dict[str, Any] = {
    "pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 211.3375, "embarked": "S",
    "cabin": "B5", "name": "Allen, Miss. Elisabeth Walton", "ticket": "24160",
}  # fmt: skip
#: Third class, lost.
OWEN: dict[str, Any] = {
    "pclass": 3, "sex": "male", "age": 22, "sibsp": 1, "parch": 0, "fare": 7.25, "embarked": "S",
    "name": "Braund, Mr. Owen Harris", "ticket": "A/5 21171",
}  # fmt: skip
#: Age and cabin unknown.
JAMES: dict[str, Any] = {
    "pclass": 3, "sex": "male", "age": None, "fare": 8.4583, "embarked": "Q", "cabin": "", "name": "Moran, Mr. James",
}  # fmt: skip
#: Only what must be known.
NOBODY: dict[str, Any] = {"pclass": 2, "sex": "female"}
CAST = [ELISABETH, OWEN, JAMES, NOBODY]

HEADER = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"


def csv_line(number: int, person: dict[str, Any], *, survived: int = 1) -> str:
    """A person as a line of a passenger table."""
    cells = {"passengerid": number, "survived": survived, "sibsp": 0, "parch": 0, **person}
    values = (cells.get(name) for name in HEADER.lower().split(","))
    return ",".join(f'"{value}"' if value is not None else "" for value in values)


def table(*people: dict[str, Any]) -> str:
    """A passenger table of these people."""
    return "\n".join([HEADER, *(csv_line(number, person) for number, person in enumerate(people, start=1)), ""])
