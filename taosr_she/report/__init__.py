"""One self-contained HTML page for a run folder.

`load` reads the folder into plain data and lists what is absent. `names` turns keys into words, `glossary` explains
them. `scores` and `models` turn the evaluation into tables. `curves` selects the training curves, `plots` draws them as
SVG. `examination` and `examination_plots` show who examined the steps, and how well. `rollouts` chooses the responses
worth reading, `responses` shows each of them step by step. `build` puts everything into `template.html.j2`. `figure`
draws one metric for documents. The page needs no network; `style.css` and `report.js` are written into it. Nothing here
imports a model or a trainer.
"""
