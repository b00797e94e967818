import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.majority import MACHINE, majority_references, majority_verdicts

DOMAIN = load_domain("taobao")


def conclusion(*records: Annotation) -> tuple[str | None, int, bool]:
    opinion = majority_references(DOMAIN, records)["p", "attributes"]
    return opinion.value, opinion.voices, opinion.machine


def says(annotator: str, text: str, verdict: str = "correct", time: str = "") -> Annotation:
    return Annotation("p", "attributes", text, verdict, annotator=annotator, time=time)


RED, BLUE, GREEN = "color: match; price: partial", "color: conflict", "color: unknown"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([says("a", RED)], ("color: match; price: partial", 1, False)),
        ([says("a", RED), says("b", "PRICE: partial;color:  Match"), says("c", BLUE)], (RED, 3, False)),
        ([says("a", RED), says("b", BLUE)], (None, 2, False)),  # a tie
        ([says("a", RED), says("b", RED), says("c", BLUE), says("d", GREEN)], (None, 4, False)),  # the most, but half
        ([says("a", RED), says("b", RED, "unsure"), says("c", "", "unsure")], (RED, 1, False)),  # abstentions
        ([says("a", "", "unsure")], (None, 0, False)),
        ([says("a", BLUE), says("b", BLUE), says("a", RED), says("b", RED)], (RED, 2, False)),  # changed their minds
        ([says("a", RED, time="2"), says("a", BLUE, time="1")], (RED, 1, False)),  # time goes before order
        ([says("a", RED), says("a", "", "unsure")], (None, 0, False)),  # no longer sure
        ([says(MACHINE + "x", BLUE), says(MACHINE + "y", BLUE), says("a", RED)], (RED, 1, False)),
        ([says(MACHINE + "x", BLUE), says("a", RED), says("b", GREEN)], (None, 2, False)),  # no machine breaks a tie
        ([says(MACHINE + "x", BLUE), says("a", RED, "unsure")], (BLUE, 1, True)),
    ],
)
def test_majority_of_references(records: list[Annotation], expected: tuple[str | None, int, bool]) -> None:
    assert conclusion(*records) == expected


def test_judgements_are_about_the_same_text_and_references_about_the_step() -> None:
    records = [
        Annotation("p", "category", "Same  thing", "wrong", annotator="a", response_id="r1"),
        Annotation("p", "category", "same thing", "correct", annotator="b", response_id="r2"),
        Annotation("p", "category", " same THING ", "wrong", annotator="c"),  # no response, yet about the text
        Annotation("p", "category", "near", "correct", annotator="a", response_id="r1"),
        Annotation("p", "category", "near", "wrong", annotator="a", response_id="r2"),  # the same person again
        Annotation("p", "category", "other", "correct", annotator="a"),  # a reference
        Annotation("p", "colour", "x"),  # no step of the schema
    ]
    found = {place: opinion.value for place, opinion in majority_verdicts(records).items()}
    assert found == {("p", "category", "same thing"): "wrong", ("p", "category", "near"): "wrong"}
    assert set(majority_references(DOMAIN, records)) == {("p", "category")}


def test_cannot_tell_abstains_and_a_settled_decision_outranks_everybody() -> None:
    def said(annotator: str, verdict: str) -> Annotation:
        return Annotation("p", "category", "near", verdict, annotator=annotator, response_id="r")

    place = ("p", "category", "near")
    two = [said("ann", "wrong"), said("bob", "wrong")]
    assert majority_verdicts([*two, said("cleo", "cannot_tell")])[place].value == "wrong"
    assert majority_verdicts([said("ann", "cannot_tell")])[place].value is None
    assert majority_verdicts([*two, said("settled:lea", "correct")])[place].value == "correct"
    assert majority_verdicts([*two, said("settled:lea", "unsure")])[place].value == "wrong"
