"""What a program can say of a real pair, and what it cannot: typed requirements against a typed catalogue.

`requirement` is a piece of what a query asks, with who says so; `queryner` reads what people marked in queries;
`tagger` learns to mark queries from them; `reader` puts people, catalogue, people's usage and the tagger in order.
`quantities` brings numbers and units into one form, `colors` knows the plain colors, `decide` says match, conflict or
unstated where the catalogue settles it, `category` the same for the kind of product. `Undecided` is an answer: nothing
here guesses a verdict.
"""
