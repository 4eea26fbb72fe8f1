"""How fast a pull is: against other pullers, against a plain loop, and against the wire itself."""
