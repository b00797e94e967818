"""Helpers that every room may use; nothing here is specific to relevance.

`errors` has the exceptions for mistakes of the user and a full disk. `config` is the strict base of all settings (an
unknown key is an error), `overrides` puts values into them. `strict_yaml` reads recipes and domains literally. `files`
writes outputs and state completely or not at all. `escape` makes untrusted text harmless before it is shown, `terminal`
prints it, `secret` masks URLs. `import_path` finds your own code that a recipe names.
"""
