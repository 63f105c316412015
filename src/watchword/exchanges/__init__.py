"""One file per grant type: an exchange earns an entitlement, the token endpoint mints."""
