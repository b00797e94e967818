"""Reading, checking, splitting and writing pairs.

`formats`, `tables` and `join` turn files into rows (CSV, TSV, JSONL, gz; Parquet and Hugging Face datasets; the
several files of WANDS and ESCI); `columns` says which column means what; `rows` turns one row into one pair and back,
`price` reads what shops write as a price; `read`, `write` and `validate` are what the rest of the house calls:
validation keeps every row it cannot use in a quarantine file, with the reason, and `summary` says what became of a
file. `split` divides by query, `fingerprint` recognises content, `demonstration` is the file of stepwise
demonstrations, `probe` sets annotations aside for the monitors, `misspell` makes typing errors. The subfolder
`catalogue` reads typed requirements and the catalogue; two others make data instead of reading it: `market` is the
embedded shop, `teachers` write stepwise demonstrations. Nothing here knows a model.
"""
