"""Pure functions: tensors in, tensors out. No state, no devices, no configuration."""
