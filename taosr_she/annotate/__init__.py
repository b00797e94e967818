"""The annotation page: people judge steps in a browser, and their verdicts are in the annotation store at once.

`desk` opens a store with the `tables` that the page needs beside the annotations. `items` are what annotators get,
chosen by `policies` from a file of responses (`queue`). `pool` hands them out and takes them back, `answers` keeps what
people say (`conclusion` checks what they conclude). `people` have links with tokens. `shown` is what they see,
`progress` how far they are, `lead` what the lead sees, `critiques` whether critiques help, `export` the files.

`app` is the HTTP service, `wire` and `wire_lead` its messages, `protect` its headers and limits; `page/` has the page's
files, without a build step. `command` is what `taosr-she annotate` does. `online/` asks people during a training.
"""
