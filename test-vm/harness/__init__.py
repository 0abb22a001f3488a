"""What `boot` is made of: one subject a module, nothing but the standard library."""
