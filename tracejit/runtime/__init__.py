"""Running compiled programs: executables and what they need of the machine."""
