"""The domain that a model was trained for, saved as a file with its weights, so that it need not be named again.

A model answers with the steps and labels it was trained on. With another domain it still answers, but the answers are
malformed or worthless. So another domain is refused unless the user insists.
"""

from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_text
from taosr_she.base.strict_yaml import dump_yaml
from taosr_she.domain.domain import SHIPPED, Domain, load_domain
from taosr_she.model.names import BOXED, check_available

DOMAIN_FILE = "domain.yaml"
"""Its name in a model folder."""


def save_domain(domain: Domain, folder: Path) -> None:
    """Write the whole domain, overrides included; `load_domain` reads it by itself."""
    write_text(folder / DOMAIN_FILE, dump_yaml(domain.model_dump(mode="json")))


def saved_domain(model: str | Path) -> Domain | None:
    """The domain of a model folder or hub name; None if it has no such file. Raises UserError for a broken file."""
    check_available(str(model))
    if str(model) in BOXED:  # not trained for any domain of ours
        return None
    path = Path(model) / DOMAIN_FILE if Path(model).exists() else _fetched(str(model))
    return load_domain(path) if path is not None and path.is_file() else None


def choose_domain(asked: str | Path | Domain | None, model: str | Path, force: bool = False) -> Domain:
    """The domain to use a model with: `asked` (a name, a file or a domain), else the model's own.

    Raises UserError if there is none, or if `asked` differs from the model's own and `force` is not set.
    """
    if not str(model).strip():
        raise UserError("the model has no name: give a folder, or a name on the hub")
    own = saved_domain(model)
    if asked is None:
        if own is None:
            raise UserError(
                f"model {model}: it has no {DOMAIN_FILE} with the domain it was trained for; name it with --domain "
                f"({', '.join(SHIPPED)}, or a YAML file), in Python with domain="
            )
        return own
    chosen = asked if isinstance(asked, Domain) else load_domain(asked)
    named = chosen.name if asked is chosen else asked
    if own is not None and not force and (where := difference(own, chosen)) is not None:
        raise UserError(
            f"model {model} was trained for the domain '{own.name}' of its {DOMAIN_FILE}, and --domain {named} differs "
            f"from it in {where}; leave --domain out, or insist with --force-domain (in Python force_domain=True)"
        )
    return chosen


def difference(own: Domain, other: Domain) -> str | None:
    """The first setting, such as `prompt.show_rules`, in which two domains differ; None if they are the same.

    Tiers do not count: they are a use of the labels, and change nothing that a model learns.
    """
    mine, theirs = (domain.model_dump(mode="json", exclude={"tiers"}) for domain in (own, other))
    return _difference(mine, theirs)


def _difference(own: Any, other: Any, where: str = "") -> str | None:
    if own == other:
        return None
    keys: list[Any] = []
    if isinstance(own, dict) and isinstance(other, dict):
        keys = [key for key in {**own, **other} if key not in own or key not in other or own[key] != other[key]]
    elif isinstance(own, list) and isinstance(other, list) and len(own) == len(other):
        keys = [i for i, (a, b) in enumerate(zip(own, other, strict=True)) if a != b]
        own, other = dict(enumerate(own)), dict(enumerate(other))
    if not keys or keys[0] not in own or keys[0] not in other:
        return f"{where}.{keys[0]}".lstrip(".") if keys else where
    return _difference(own[keys[0]], other[keys[0]], f"{where}.{keys[0]}".lstrip("."))


def _fetched(name: str) -> Path | None:
    """The file from the hub or its cache; None if it does not exist."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(hf_hub_download(name, DOMAIN_FILE))
    except EntryNotFoundError:  # the model has none
        return None
    except HFValidationError as error:
        raise UserError(f"model {name}: no such folder, and not a valid name on the hub") from error
    except OSError as error:
        raise UserError(f"model {name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
