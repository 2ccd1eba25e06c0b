"""Which activation stores most bits, each at its own best learning rate, all overfilled alike.

``entry`` (what is ranked), ``same_function`` (what is there already), ``protocol`` (how), ``choosing`` (the rate of
each, and what is to be trained next), ``rounds`` (trains it), ``ranking`` (numbers from records), ``told`` (prints and
files), ``board`` (a call, from its words to a table).
"""
