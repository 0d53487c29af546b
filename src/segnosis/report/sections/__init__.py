"""Sections of a run's report: one file = one section, its page in `templates/sections/<name>.html`.

A section has `TITLE` (its heading, and its name in the page's navigation), `ORDER` (where it stands) and
`section(run)`, which returns the values its template is filled with, or `None` where the run holds nothing to show.
"""
