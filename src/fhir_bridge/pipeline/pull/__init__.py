"""Pull: we ask a treating provider for everything it has of one patient, and prove what came."""
