"""The DICOMweb door: hospitals push images to us by STOW-RS (PS3.18 10.5)."""
