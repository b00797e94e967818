"""Reading, checking, splitting and writing pairs.

`formats`, `tables` and `join` turn files into rows (CSV, TSV, JSONL, gz; Parquet and Hugging Face datasets; the
several files of WANDS and ESCI). `columns` maps columns to fields. `rows` turns one row into one pair and back, `price`
parses prices. The rest of the package calls `read`, `write` and `validate`; validation moves every unusable row to a
quarantine file, with the reason, and `summary` reports the result. `known` finds rows that contradict or repeat earlier
ones, in memory or, for long files, `on_disk`; `parts` puts files together that hold parts of one table. `tools` writes
judgements in the formats of search tools, `judged` reads them, and `ratings` relates their numbers to grades. `split`
divides pairs by query, `fingerprint`
identifies content, `demonstration` is the file of stepwise demonstrations, `probe` holds out annotations for the
monitors, `matching` makes exercises for the label, `misspell` makes typing errors. The subfolder `catalogue` parses
typed requirements from queries and compares them with the catalogue. Two subfolders generate data: `market` is the
embedded shop, `teachers` write stepwise demonstrations. Nothing here knows a model.
"""
