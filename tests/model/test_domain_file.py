"""The domain stands beside the weights, whole, and another one is not taken in silence."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import SHIPPED, Domain, load_domain
from taosr_she.model.domain_file import DOMAIN_FILE, choose_domain, difference, save_domain, saved_domain
from taosr_she.model.policy import Policy, load_policy, save_policy

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)  # what a file can hold


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_domain_comes_back_whole(name: str, tmp_path: Path) -> None:
    save_domain(load_domain(name), tmp_path)
    assert saved_domain(tmp_path) == load_domain(name) == choose_domain(None, tmp_path) == choose_domain(name, tmp_path)


@given(instruction=TEXTS, meaning=TEXTS, rules=st.booleans())
@example(instruction="a\x85b", meaning="\u2028", rules=True)
def test_whatever_its_texts_hold_it_comes_back(
    instruction: str, meaning: str, rules: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("domain")
    grade = {"code": "NO", "name": "null", "meaning": meaning}
    own = load_domain("taobao").with_overrides(
        {"prompt": {"instruction": instruction, "show_rules": rules}, "labels": [grade, {"code": "08", "name": "x"}],
         "rules": []},
    )  # fmt: skip
    save_domain(own, folder)
    assert load_domain(folder / DOMAIN_FILE) == own


def test_policies_carry_it_from_folder_to_folder(tiny: Policy, domain: Domain, tmp_path: Path) -> None:
    assert tiny.domain == domain
    save_policy(tiny, tmp_path / "a")
    again = load_policy(tmp_path / "a", "cpu")
    save_policy(again, tmp_path / "b")
    assert again.domain == saved_domain(tmp_path / "b") == domain
    again.domain = None
    save_policy(again, tmp_path / "b")
    assert not (tmp_path / "b" / DOMAIN_FILE).exists()  # nobody said so


def test_another_domain_is_refused_unless_forced_and_none_is_asked_for(tmp_path: Path) -> None:
    save_domain(load_domain("taobao").with_overrides({"prompt": {"show_rules": False}}), tmp_path)
    with pytest.raises(UserError, match=r"--domain taobao differs from it in prompt\.show_rules; .*--force-domain"):
        choose_domain("taobao", tmp_path)
    assert choose_domain("taobao", tmp_path, force=True) == load_domain("taobao")
    (tmp_path / DOMAIN_FILE).unlink()
    assert choose_domain("esci", tmp_path) == load_domain("esci")
    with pytest.raises(UserError, match=r"it has no domain\.yaml .* --domain \(taobao, esci, wands"):
        choose_domain(None, tmp_path)


@pytest.mark.parametrize("text", ["labels: [", "name: x\n", "- 1\n", "\0", "name: x\nname: y\n"])
def test_a_broken_file_is_one_line_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / DOMAIN_FILE).write_text(text)
    with pytest.raises(UserError, match=f"domain {tmp_path / DOMAIN_FILE}: ") as caught:
        choose_domain(None, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such", "./no", "no such"])
def test_what_is_no_folder_and_no_name_says_so(name: str) -> None:
    with pytest.raises(UserError, match=f"model {name}: no such folder"):
        saved_domain(name)


def test_the_first_difference_has_a_name() -> None:
    own = load_domain("taobao")
    assert difference(own, own) is None
    assert difference(own, own.with_overrides({"synonyms": {"maroon": "dark red"}})) == "synonyms.maroon"
    assert difference(own, own.with_overrides({"rules": []})) == "rules"
    labels = [grade.model_dump() for grade in own.labels]
    labels[2]["meaning"] = "other"
    assert difference(own, own.with_overrides({"labels": labels})) == "labels.2.meaning"


def test_an_empty_name_is_no_model() -> None:  # it would be the working folder
    with pytest.raises(UserError, match="the model has no name"):
        choose_domain("taobao", "")
