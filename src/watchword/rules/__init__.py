"""Judge: values in, a value or an OAuthError out; no clock, no chance, no I/O."""
