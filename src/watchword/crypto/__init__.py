"""The only importers of cryptographic libraries."""
