"""
How we remember: originals (bytes), rows, migrations.

Room: store. Floor: beside pipeline, clients and security; imports standards and below. The only
room that knows SQLAlchemy and the object store. State and event are committed together.
"""
