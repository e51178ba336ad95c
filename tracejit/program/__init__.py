"""The Program level: buffers and the steps that fill them."""
