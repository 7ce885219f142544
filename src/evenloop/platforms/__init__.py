"""What is promised on each platform, and what is true on this one."""
