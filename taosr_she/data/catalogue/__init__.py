"""What a program can decide about a real pair, and what it cannot: typed requirements compared with a typed catalogue.

`requirement` is one requirement of a query, with its source. `queryner` reads people's annotations of queries, and
`tagger` learns from them to annotate other queries. `reader` combines people, catalogue, usage and the tagger, in this
order. `quantities` normalises numbers and units, `colors` lists the plain colors. `decide` gives match, conflict or
unstated if the catalogue decides it, and `category` decides the kind of product. None (undecided) is a valid answer:
nothing here guesses a verdict.
"""
