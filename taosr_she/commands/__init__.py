"""What stands behind `taosr-she`: one file a command, with its options at the top. `cli` puts them together.

`run` (demo and run), `evaluate`, `judge`, `examine`, `select`, `report` (report and figure); the groups `data`,
`annotations`, `model` and `bench`. `options` holds what several commands ask for in the same words, `paths` the paths
among it, `checks` what can be known of an output before the work, `say` what several print, `version` what `--version`
says.

Only the standard library, typer and rich are imported at the top of these files: `--help` answers at once.
"""
