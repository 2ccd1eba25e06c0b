"""One page of a comparison, ``report.html``: figures to hover over, tables to sort and filter, no network.

``page`` puts it together from ``headline``, ``sections``, ``capacity_figures``, ``measure_figures`` and ``tables``.
``drawing`` says which run and which configuration a point belongs to, ``commands`` how these are trained again,
``embedding`` how values get into the page safely. ``report.js``, ``table.js`` and ``report.css`` travel beside it.
"""
