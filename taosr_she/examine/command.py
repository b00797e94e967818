"""What `taosr-she annotations` does: records into and out of a store, and how well people agree."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_text
from taosr_she.base.secret import masked
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.examine.agreement import ALL_STEPS, annotator_report, pair_agreement, what_cannot_be_said
from taosr_she.examine.interchange import Layout, export_annotations, import_annotations
from taosr_she.examine.label_studio import labeling_config
from taosr_she.examine.people import PeopleLayout, people_of
from taosr_she.examine.store import AnnotationStore, read_all


def import_people(
    console: Console, path: Path, store: str, layout: PeopleLayout, domain_name: str, pairs: Path | None
) -> None:
    """Add annotations (annotated queries or rated pairs) from a file to a store, which is created if missing."""
    found = people_of(path, layout, load_domain(domain_name), pairs)
    with AnnotationStore(store) as opened:
        opened.add(found)
        total = opened.count()
    names = sorted({a.annotator for a in found})
    unsure = sum(a.verdict == "unsure" for a in found)
    console.print(
        f"{path}: {len(found)} records by {', '.join(names)} ({unsure} unsure) into {masked(store)}, which now holds "
        f"{total}", highlight=False
    )  # fmt: skip


def import_file(console: Console, path: Path, store: str, layout: Layout, domain_name: str) -> None:
    """Add the records of a file to a store, which is created if missing; bad records go to quarantine."""
    quarantine = path.with_name(f"{path.name}.quarantine.jsonl")
    imported = import_annotations(path, layout, load_domain(domain_name), quarantine)
    if not imported.annotations:
        why = "; ".join(f"{count} x {reason}" for reason, count in imported.counts.items())
        lost = f" comes through ({why}), see {quarantine}" if why else f"; is --layout {layout} right?"
        raise UserError(f"{path}: no record in it{lost}")
    with AnnotationStore(store) as opened:
        opened.add(imported.annotations)
        total = opened.count()
    console.print(
        f"{path}: {len(imported.annotations)} records into {masked(store)}, which now holds {total}", highlight=False
    )
    for reason, count in imported.counts.items():
        console.print(f"  {count:>6}  {reason}", highlight=False)
    if imported.rejected:
        console.print(f"rejected records with reasons: {quarantine}", highlight=False)


def export_file(console: Console, store: str, path: Path, layout: Layout, domain_name: str, pairs: Path | None) -> None:
    """Write all records of a store; Label Studio and TRL's layout show the pairs, which must be given."""
    domain = load_domain(domain_name)
    if layout != "jsonl" and pairs is None:
        raise UserError(f"--layout {layout} shows the annotated pairs: give --pairs")
    shown = load_pairs(pairs, domain).pairs if pairs else []
    annotations = read_all(store)
    export_annotations(path, layout, annotations, domain, shown)
    console.print(f"wrote {len(annotations)} records to {path}", highlight=False)
    if layout == "label_studio":
        config = path.with_name(f"{path.name}.config.xml")
        write_text(config, labeling_config(domain))
        console.print(
            f"wrote {config}: paste it under Settings > Labeling Interface > Code of the project", highlight=False
        )


def show_agreement(console: Console, store: str, domain_name: str) -> None:
    """Every annotator compared with the others, and every two of them with each other."""
    domain, annotations = load_domain(domain_name), read_all(store)
    if not annotations:
        raise UserError(f"{masked(store)}: no record in it, so there is nothing to compare")
    table = Table(title=f"{masked(store)}: each annotator and the majority of the others", title_justify="left")
    for head in ("annotator", "records", "items", "agrees %", "others %", ""):
        names = head in ("annotator", "")  # a long name folds; a number is never cut
        table.add_column(head, justify="left" if names else "right", overflow="fold", no_wrap=not names)
    reports, pairs = annotator_report(domain, annotations), pair_agreement(domain, annotations)
    for a in reports:
        known = (f"{a.agreement * 100:.1f}", f"{a.others_agreement * 100:.1f}") if a.items else ("–", "–")
        table.add_row(a.annotator, str(a.records), str(a.items), *known, "stands out" if a.outlier else "")
    console.print(table)
    weighted = {(p.first, p.second): p.weighted for p in pairs if not math.isnan(p.weighted)}
    for p in pairs:
        if p.step == ALL_STEPS:
            kappa = "unknown" if math.isnan(p.kappa) else f"{p.kappa:.2f}"
            of_labels = weighted.get((p.first, p.second))
            more = "" if of_labels is None else f"; labels: quadratic weighted kappa {of_labels:.2f}"
            console.print(
                f"{p.first}, {p.second}: {p.items} items, {p.raw:.1%} the same, kappa {kappa}{more}", highlight=False
            )
    for note in what_cannot_be_said(domain, annotations, reports, pairs):
        console.print(note, highlight=False, markup=False)
