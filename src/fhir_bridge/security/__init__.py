"""
Who may, and who did: access, logins, secrets, keys.

Room: security. Floor: beside store and clients; imports standards and below.
"""
