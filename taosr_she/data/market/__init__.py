"""The market: a seeded generator of a shop that knows the truth of every reasoning step.

It is for learning, testing and ablation without a download; every table that comes from it says so. `lexicon` holds the
words, `goods` and `asks` make products and queries, `reasoning` is the rule book as code (it decides every step and the
label), `text` writes what shoppers and sellers write, `teacher` demonstrates with documented blind spots, `annotators`
plays the people who check steps, `market` puts it together.
"""
