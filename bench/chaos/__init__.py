"""Make chaos: every bad day of a hospital, for our puller and for the others that exist."""
