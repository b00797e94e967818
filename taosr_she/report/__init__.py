"""One self-contained HTML page for a run folder.

`load` reads the folder into plain data and says what is absent, `names` turns keys into words, `glossary` explains
them, `scores` and `models` shape the evaluation into tables, `plots` draws curves as SVG, `curves` picks what is
drawn, `examination` and `examination_plots` show who examined and how well, `rollouts` chooses the responses worth
reading, `responses` lays each out step by step, and `build` puts all of it into `template.html.j2`. `figure` draws
one metric for documents. The page needs no network; `style.css` and `report.js` are written into it. Nothing here
imports a model or a trainer.
"""
