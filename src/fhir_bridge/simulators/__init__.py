"""
A treating hospital in a box: General Hospital, with its EHR, its PACS and its bad days.

An independent peer. It runs as its own process, speaks only over its ports, and imports nothing of
the bridge but the lookup of the fixtures and the error tree, so that nothing it does can agree with
the bridge by accident. Only this room and the servers know fastapi, only this room, clients/dimse
and servers/dimse know pynetdicom.
"""
