"""Which questions are worth asking: simulated people answer during a training, chosen by each policy of the queue.

`settings` has the data, rules, budgets and seeds. `recipes` makes one recipe for each seed, whose stages run as cells.
`results` keeps what is measured of a cell and compares the rules, `page` writes the tables, `command` is the command.
"""
