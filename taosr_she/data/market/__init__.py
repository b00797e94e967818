"""The market: a seeded generator of a shop that knows the truth of every reasoning step.

It is for learning, testing and ablation without a download; every table that comes from it says so. `lexicon` has the
words, `asks` makes queries and products, and `reasoning` is the rule book as code: it decides every step and the label.
`text` writes the texts of shoppers and sellers. `teacher` writes demonstrations with documented blind spots,
`annotators` simulates the people who check steps, and `market` assembles everything.
"""
