"""
What each durable step does: one stage tied to the clients and the store, safe to run twice.

Room: steps. Floor: below the composition root, above workflows and servers, which see it only as
Protocols. One module a stretch of the way: hospitals (who we call), pulling, assembling, opinions.
"""
