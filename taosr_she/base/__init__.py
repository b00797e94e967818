"""What every room may use and what knows nothing of relevance.

`errors` are mistakes of the user and of the disk. `config` is the strict base of all settings (an unknown key is an
error), `overrides` puts values into them, `strict_yaml` reads recipes and domains as written. `files` writes outputs
and state whole or not at all. `escape` makes text of others harmless where it is shown, `terminal` is where it is
printed, `secret` masks URLs, `import_path` finds code of others that a recipe names.
"""
