"""The DIMSE door: hospitals push images to us by C-STORE (PS3.4 Annex B)."""
