"""Real pairs with a pretrained model: every row on every fold, so that each pair is tested once, from one command.

`settings` has the data sets, `rows` lists what is compared. `recipes` makes one recipe for each data set and fold.
`kept` defines what is kept of a row, `trainings` chooses the folds that a row is measured on, `results` pools them and
compares the rows, `examined` measures the GSRM, `page` writes the documentation, and `command` is the command.
"""
