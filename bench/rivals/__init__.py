"""The other pullers: what each is, with hashes, and the script that drives it on its own."""
