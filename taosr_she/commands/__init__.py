"""The commands of `taosr-she`: one file per command, with its options at the top. `cli` assembles them.

`run` (demo and run), `evaluate`, `judge`, `serve`, `examine`, `select`, `report` (report and figure); the groups
`data`, `annotate`, `annotations`, `model` and `bench`. `options` has the options that several commands share, `paths`
the type of their paths, `checks` the checks of an output path before the work, `say` shared output, `version` the text
of `--version`.

Only the standard library, typer and rich are imported at the top of these files, to keep `--help` fast.
"""
