"""DICOM read without trusting it: Part 10, headers, ImagingStudy, reports, previews, tables."""
