"""Audits: rules that a model has to keep, decided by intervals and never by the point.

:mod:`.policy` reads the rules, :mod:`.measure` measures what each of them speaks of,
:mod:`.decide` decides all of them together, and :mod:`.record` is what an audit found: everything
that is written (:mod:`.files`) is made of it, and a store is verified by making it again.
"""
